"""What Ollama's own log (OLLAMA_DEBUG=1) says of loads and unloads. Never asks a running Ollama."""

import re
from dataclasses import dataclass

_LOADED = re.compile(r'msg="finished setting up".* runner\.size="(?P<size>[^"]*)" runner\.vram="(?P<vram>[^"]*)"')
_EVICTS = ('msg="resetting model to expire immediately to make room"', 'msg="evicting all other loaded models')
_EXPIRES = 'msg="timer expired, expiring to unload"'


@dataclass(frozen=True, slots=True)
class Residency:
    """How often what happened.

    Attributes:
        loads: models that were loaded.
        spills: loads of which a part did not go to the GPU.
        evictions: models that Ollama itself chose to unload, to make room or to load them with other options.
        expiries: models whose keep_alive ran out.
    """

    loads: int
    spills: int
    evictions: int
    expiries: int


def read(log: str) -> Residency:
    """Count what this log says."""
    loads = [(found["size"], found["vram"]) for found in _LOADED.finditer(log)]
    return Residency(
        loads=len(loads),
        spills=sum(size != vram for size, vram in loads),
        evictions=sum(log.count(words) for words in _EVICTS),
        expiries=log.count(_EXPIRES),
    )
