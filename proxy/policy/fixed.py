"""The policy nearest to plain Ollama: one keep_alive for all, and the model whose time is up first leaves first.

Never learns anything.
"""

from dataclasses import dataclass

from proxy.domain.units import format_duration
from proxy.policy.checks import check_number
from proxy.policy.lru import Lru
from proxy.policy.ttl import Stay, Ttl


@dataclass(frozen=True)
class Fixed(Lru):
    """One keep_alive for all, so the shortest time left is the oldest use.

    Attributes:
        keep_alive_seconds: finite, >= 0; Ollama's own default is 5 minutes.
    """

    keep_alive_seconds: float = 300.0

    def __post_init__(self) -> None:
        check_number("keep_alive_seconds", self.keep_alive_seconds, "seconds")

    def ttl(self, stay: Stay) -> Ttl:
        """Keep every model for the same time, within the floor and the ceiling."""
        seconds = stay.clamp(self.keep_alive_seconds)
        return Ttl(seconds, lambda: f"kept {format_duration(seconds)}: fixed, as every model")
