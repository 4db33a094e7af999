"""Everyone who can be compared, by name. Decides nothing itself."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from proxy.domain.units import parse_duration
from proxy.sim.replay.baselines import Clairvoyant, Gdsf, Herd, Histogram, Lemonade
from proxy.sim.replay.contender import FOREVER_SECONDS, Contender, Direct, MachineSpec, Managed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.domain.settings import EngineSettings
    from proxy.sim.replay.workload import Workload

REFERENCE: Final = "ollama"
"""What everyone is measured by: Ollama alone, with its defaults."""

_TIMER_SECONDS: Final = 3600.0


def _adaptive(settings: EngineSettings, _: Workload) -> Managed:
    return Managed(replace(settings, policy="adaptive"))


def _warm(settings: EngineSettings, _: Workload) -> Managed:
    return Managed(replace(settings, policy="adaptive", warm_up=True))


def _lru(settings: EngineSettings, _: Workload) -> Managed:
    return Managed(replace(settings, policy="lru"))


def _gdsf(settings: EngineSettings, _: Workload) -> Managed:
    policy = Gdsf()
    return Managed(settings, policy, policy.asked)


def _lemonade(settings: EngineSettings, _: Workload) -> Managed:
    return Managed(settings, Lemonade())


def _histogram(settings: EngineSettings, _: Workload) -> Managed:
    policy = Histogram()
    return Managed(settings, policy, policy.asked)


def _herd(settings: EngineSettings, _: Workload) -> Managed:
    policy = Herd()
    return Managed(settings, policy, policy.asked)


def _clairvoyant(settings: EngineSettings, workload: Workload) -> Managed:
    policy = Clairvoyant(workload)
    return Managed(settings, policy, policy.asked)


CONTENDERS: Final[Mapping[str, Callable[[EngineSettings, Workload], Contender]]] = MappingProxyType(
    {
        REFERENCE: lambda _, __: Direct(),
        "forever": lambda _, __: Direct(FOREVER_SECONDS),
        "timer": lambda _, __: Direct(_TIMER_SECONDS),
        "lru": _lru,
        "gdsf": _gdsf,
        "lemonade": _lemonade,
        "histogram": _histogram,
        "herd": _herd,
        "adaptive": _adaptive,
        "warm": _warm,
        "clairvoyant": _clairvoyant,
    }
)
"""How each contender is made for a workload: keepwarm's settings count for those that keepwarm manages.

ollama: keep_alive 5 minutes. forever: keep_alive -1. timer: keep_alive 1 hour. lru, adaptive: keepwarm's own policies.
warm: adaptive with loads ahead of use, whatever the settings say.
gdsf, lemonade, histogram, herd: others' (`baselines`). clairvoyant: keepwarm's rule with the future known.
"""


def known(name: str) -> bool:
    """Tell whether there is a contender of that name.

    A name may end in `@` and a price of memory as in the settings, instead of theirs: `adaptive@50ms`.
    """
    contender, _, price = name.partition("@")
    try:
        return contender in CONTENDERS and _price(price, 0.0) >= 0
    except ValueError:
        return False


def _price(text: str, otherwise: float) -> float:
    return parse_duration(text) if text else otherwise


def enter(name: str, settings: EngineSettings, machine: MachineSpec, workload: Workload) -> Contender:
    """Make a contender, new for each run; keepwarm gets no more than the machine has.

    Raises:
        KeyError: there is none of that name.
        ValueError: the price in it is none.
    """
    contender, _, price = name.partition("@")
    fitted = replace(
        settings,
        budget_bytes=min(settings.budget_bytes or machine.gpu_bytes, machine.gpu_bytes),
        max_models=machine.max_models,
        price_seconds_per_gib_hour=_price(price, settings.price_seconds_per_gib_hour),
    )
    return CONTENDERS[contender](fitted, workload)
