"""Which context length serves all clients of a model that ask for different ones (OLLAMA.md 7: each switch reloads it).

Never knows what memory a context takes: whoever asks says which ones fit. Never a shorter one than was asked for.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Self

from proxy.policy.state import State, number

KEPT_SECONDS = 86400.0
"""For how long a context counts after it was asked for last."""

_MAX_CONTEXTS = 16
_OPEN_ENDED = 0


class Asked(NamedTuple):
    """Contexts that were asked for, in tokens, and whether there were requests that can't ask for one (`/v1`)."""

    num_ctx: tuple[int, ...]
    open_ended: bool


class Contexts:
    """When each context was asked for last, unix seconds; beyond 16, the one longest not asked for is forgotten."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: dict[int, float] = {}  # in the order of asking

    def add(self, num_ctx: int | None, at: float) -> None:
        """Count a request for this context, > 0 tokens; None: it can't ask for one."""
        self._at.pop(num_ctx or _OPEN_ENDED, None)
        self._at[num_ctx or _OPEN_ENDED] = at
        while len(self._at) > _MAX_CONTEXTS:
            del self._at[next(iter(self._at))]

    def lately(self, now: float) -> Asked:
        """What was asked for within the last day."""
        recent = {num_ctx for num_ctx, at in self._at.items() if at > now - KEPT_SECONDS}
        return Asked(tuple(sorted(recent - {_OPEN_ENDED})), _OPEN_ENDED in recent)

    def to_state(self) -> State:
        """Plain values for JSON."""
        return {str(num_ctx): at for num_ctx, at in self._at.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, object]) -> Self:
        """Read what `to_state` wrote; ValueError if it is anything else."""
        contexts = cls()
        for num_ctx in state:
            contexts.add(int(num_ctx), number(state, num_ctx))
        return contexts


def unified(least: int, asked: Iterable[int], automatic: int | None, fits: Callable[[int], bool]) -> int:
    """Return the context to load a model with for a request that needs `least` tokens.

    Args:
        least: what the request needs; the result is never shorter.
        asked: what the model's other requests need.
        automatic: what those that can't ask for a context run with; None: there are no such requests.
        fits: whether the model fits in the budget with that context.

    Returns:
        The automatic context where that is enough, since another one would be reloaded at the next request that can't
        ask; else the longest one asked for that fits.
    """
    if automatic is not None and automatic >= least and fits(automatic):
        return automatic
    return max((num_ctx for num_ctx in asked if num_ctx > least and fits(num_ctx)), default=least)
