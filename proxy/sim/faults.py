"""Switches that make the simulated Ollama misbehave, for tests of what the proxy then does; does nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on; change it at any time.

    Attributes:
        refuse_unload: An unload (`keep_alive: 0` without a prompt) is answered with 500 and does nothing.
        ignore_unload: An unload is answered as if it had been done, and does nothing.
        ps_status: `/api/ps` answers with this status instead of 200.
        ps_garbage: `/api/ps` answers with something that is no JSON.
        ps_delay_seconds: `/api/ps` takes this long, in real seconds.
        break_stream_after_chunks: A streamed answer's connection is cut after so many chunks.
        failing_loads: Names of models (tag included) whose loads fail with 500.
        hang: No model request is answered at all.
    """

    refuse_unload: bool = False
    ignore_unload: bool = False
    ps_status: int | None = None
    ps_garbage: bool = False
    ps_delay_seconds: float = 0.0
    break_stream_after_chunks: int | None = None
    failing_loads: set[str] = field(default_factory=set)
    hang: bool = False
