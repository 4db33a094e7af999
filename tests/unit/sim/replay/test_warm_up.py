"""Loads ahead of use, by the real engine on the model of Ollama's scheduler."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.domain.effects import Cause
from proxy.sim.replay.contender import MachineSpec, Managed
from proxy.sim.replay.simulator import simulate
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel
from tests.unit.engine.transcript import GIB, SETTINGS

if TYPE_CHECKING:
    from proxy.sim.replay.result import Result

HOURS = 12


def hourly(*, warm_up: bool) -> Result:
    """A job asks for one model every hour, somebody for another one in between; both do not fit in at once."""
    models = tuple(WorkloadModel(name, 16 * GIB, 6.0) for name in ("cron:latest", "chat:latest"))
    arrivals = [Arrival(number * 1800.0, number % 2, 1.0) for number in range(2 * HOURS)]
    contender = Managed(replace(SETTINGS, warm_up=warm_up))
    machine = MachineSpec(gpu_bytes=24 * GIB)
    return simulate(Workload(models, arrivals), machine, contender, seed=1, overlapping=True)


def test_callers_that_come_every_hour_find_their_models_warm() -> None:
    result = hourly(warm_up=True)
    assert max(result.waits[-8:]) < 0.1
    assert result.loads <= 2 * HOURS + 1


def test_switched_off_they_wait_each_time() -> None:
    result = hourly(warm_up=False)
    assert min(result.waits) >= 6.0
    assert Cause.WARM_UP not in result.unloaded_by_us
