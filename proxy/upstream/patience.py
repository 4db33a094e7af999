"""How long the proxy waits for Ollama when it manages it, live and in the simulator; waits for nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOAD_SECONDS = 900.0
"""For a load, or a touch, to be answered."""
UNLOAD_SECONDS = 12.0
"""For an unloaded model to leave `/api/ps`: two pauses of OLLAMA.md 17 and some more."""
SETTLE_POLL_SECONDS = 0.05
"""Between two questions to the GPU's driver."""
SETTLE_LIMIT_SECONDS = 5.0
"""For the driver to see the memory free."""

_SHORTEST_POLL_SECONDS, _LONGEST_POLL_SECONDS, _POLL_FACTOR = 0.005, 0.25, 1.5


def unload_pauses() -> Iterator[float]:
    """Seconds to wait before each further look at `/api/ps` while a model is awaited to leave."""
    pause = _SHORTEST_POLL_SECONDS
    while True:
        yield pause
        pause = min(_LONGEST_POLL_SECONDS, pause * _POLL_FACTOR)
