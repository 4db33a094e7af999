"""Policies of others, to be compared with. None does more than its source says and a policy of keepwarm can decide."""

from proxy.sim.replay.baselines.clairvoyant import Clairvoyant
from proxy.sim.replay.baselines.gdsf import Gdsf
from proxy.sim.replay.baselines.herd import Herd
from proxy.sim.replay.baselines.histogram import Histogram
from proxy.sim.replay.baselines.lemonade import Lemonade

__all__ = ["Clairvoyant", "Gdsf", "Herd", "Histogram", "Lemonade"]
