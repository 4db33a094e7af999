"""Who does what when, made from a seed alone: the same seed gives the same actions, faults and settings."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxy.sim.catalog import SimModel
from proxy.sim.site import SimulatedOllamaOptions
from tests.faults.clients import PATHS

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 1000
_MEAN_PAUSE_SECONDS = 12.0
_MODELS = 30
_MOST_TOKENS = 24
_BEHAVIOURS = {"reads": 84, "reads slowly": 4, "leaves before the answer": 5, "leaves in the answer": 4, "resets": 3}
_FAULTS = {
    "break_stream_after_chunks": 3,
    "ps_status": 500,
    "ps_garbage": True,
    "ps_delay_seconds": 0.7,
    "refuse_unload": True,
    "failing_loads": {"m01", "m07", "m19"},
    "hang, then restart": None,
    "restart": None,
}
_FAULT_EVERY_SECONDS, _FAULT_SECONDS = 6.0, (0.3, 2.0)
SETTINGS_EVERY_SECONDS = 4.0

OLLAMA = SimulatedOllamaOptions(
    models=tuple(SimModel(name=f"m{number:02}", mib=1024 * (1 + number * 7 % 9)) for number in range(_MODELS)),
    gpu_mib=80 * 1024,
    load_mib_per_second=8192.0,
    tokens_per_second=40.0,
    num_parallel=16,
    max_loaded_models=12,
    speed=10.0,
)
"""Ten times as fast as a real one, so that what takes seconds there happens often enough."""


@dataclass(frozen=True)
class Action:
    """One request of one connection, after a pause."""

    pause_seconds: float
    path: str
    model: str
    tokens: int
    behaviour: str


@dataclass(frozen=True)
class Trouble:
    """A fault of Ollama, from some seconds after the beginning on."""

    at: float
    seconds: float
    fault: str

    @property
    def longest_seconds(self) -> float:
        """How long it may last: where Ollama hangs first, it is away for as long again, and starting takes its time."""
        return 2 * self.seconds + 1.0

    @property
    def value(self) -> Any:
        """What the simulated Ollama's switch of that name is set to."""
        return _FAULTS[self.fault]


def actions(seed: int, connection: int) -> Iterator[Action]:
    """What a connection does, without end; a few models are asked for most."""
    chance = random.Random(f"{seed} connection {connection}")
    while True:
        yield Action(
            pause_seconds=chance.expovariate(1 / _MEAN_PAUSE_SECONDS),
            path=chance.choice(PATHS),
            model=f"m{min(_MODELS - 1, int(chance.paretovariate(0.7)) - 1):02}",
            tokens=chance.randint(1, _MOST_TOKENS),
            behaviour=chance.choices(list(_BEHAVIOURS), list(_BEHAVIOURS.values()))[0],
        )


def troubles(seed: int) -> Iterator[Trouble]:
    """What becomes of Ollama, without end, one after the other."""
    chance, at = random.Random(f"{seed} troubles"), 0.0
    while True:
        at += _FAULT_EVERY_SECONDS * chance.uniform(0.5, 1.5)
        seconds = chance.uniform(*_FAULT_SECONDS)
        yield Trouble(at, seconds, chance.choice(list(_FAULTS)))
        at += seconds


def settings(seed: int) -> Iterator[dict[str, Any] | str]:
    """What stands in the settings file beside what must, each for some seconds, without end; text: it is broken."""
    chance = random.Random(f"{seed} settings")
    for number in itertools.count():
        if number % 4 == 3:
            yield chance.choice(["server: [", "", "memory: {budgt: 3}", "\0"])
        else:
            yield {
                "policy": chance.choice(["adaptive", "adaptive", "lru", "fixed"]),
                "max_wait": chance.choice(["1s", "5s"]),
                "memory": {"price": chance.choice(["0s", "5ms", "1s"]), "budget": chance.choice(["80GiB", "60GiB"])},
                "keep_alive": {"min": "1s", "max": chance.choice(["10s", "5m"])},
            }
