"""Tells what was decided and why, in words. Never logs a prompt, an answer or a header: effects carry none."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from proxy.domain.effects import Forward, KeepAlive, Left, Load, Loaded, ManagementFailed, Regretted, Unload, WarmedUp
from proxy.domain.events import ABOUT_RESIDENTS, ResidentsObserved, ResidentsUnknown
from proxy.domain.units import format_bytes, format_duration
from proxy.observe.log import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.domain.effects import Effect
    from proxy.domain.events import Event

_log: Final = logging.getLogger(__name__)

_LEVELS: Final[dict[type[Effect], int]] = {
    Forward: logging.DEBUG,
    Load: logging.INFO,
    Unload: logging.INFO,
    Loaded: logging.INFO,
    Left: logging.INFO,
    Regretted: logging.INFO,
    WarmedUp: logging.INFO,
    ManagementFailed: logging.WARNING,
}


class DecisionLog:
    """Logs loads, unloads and what came of them; forwards only at level DEBUG, the other effects never."""

    def __init__(self) -> None:
        """Begin with an upstream of which nothing was heard."""
        self._upstream_known: bool | None = None

    def observe(self, event: Event, effects: Iterable[Effect]) -> None:
        """Log one event and what the engine made of it."""
        if isinstance(event, ABOUT_RESIDENTS):
            self._upstream(event)
        for effect in effects:
            level = _LEVELS.get(type(effect))
            if level is not None and _log.isEnabledFor(level):
                _log.log(level, "%s", _words(effect), extra={FIELDS: _fields(effect)})

    def _upstream(self, event: ResidentsObserved | ResidentsUnknown) -> None:
        """Log only the change: `/api/ps` is asked every few seconds."""
        known = isinstance(event, ResidentsObserved)
        if known is self._upstream_known:
            return
        self._upstream_known = known
        if isinstance(event, ResidentsObserved):
            _log.info("residents are known: %s", ", ".join(resident.model for resident in event.residents) or "none")
        else:
            _log.warning("residents are not known, requests pass as they come: %s", event.reason)


def _words(effect: Effect) -> str:
    match effect:
        case Forward(request_id, outcome, keep_alive, reason, num_ctx):
            context = f", num_ctx {num_ctx}" if num_ctx else ""
            kept = keep_alive_words(keep_alive)
            text = f"request {request_id} forwarded {outcome}, keep_alive {kept}{context}: {reason}"
        case Load(model=model, options=options, keep_alive=keep_alive, reason=reason, request_id=request_id):
            context = f", num_ctx {options.num_ctx}" if options.num_ctx else ""
            text = f"load {model}{_for(request_id)}{context}, keep_alive {keep_alive_words(keep_alive)}: {reason}"
        case Unload(model=model, cause=cause, reason=reason, request_id=request_id):
            text = f"unload {model}{_for(request_id)} ({cause}): {reason}"
        case Loaded(model, cause, seconds, size, spilled, request_id):
            spill = f", {format_bytes(spilled)} of it spilled to main memory" if spilled else ""
            text = (
                f"loaded {model}{_for(request_id)} ({cause}) in {format_duration(seconds)}: {format_bytes(size)}{spill}"
            )
        case Left(model=model, cause=cause, bytes=size):
            text = f"{model} left ({cause}): {format_bytes(size)}"
        case WarmedUp(model=model, used=used):
            text = f"{model} was loaded ahead of use: {'used' if used else 'in vain'}"
        case Regretted(model=model, seconds_since=seconds):
            text = f"regret: {model} is asked for again {format_duration(seconds)} after its eviction"
        case ManagementFailed(model=model, what=what, error=error, request_id=request_id):
            text = f"{model}: {what}{_for(request_id)} failed, the requests that needed it pass as they came: {error}"
        case _:
            raise TypeError(f"{effect} has no words")
    return text


def _for(request_id: int | None) -> str:
    return "" if request_id is None else f" for request {request_id}"


def keep_alive_words(keep_alive: int | KeepAlive) -> str:
    """Say for how long, as durations are written in the settings, or how else a keep_alive is treated."""
    if isinstance(keep_alive, KeepAlive):
        return keep_alive
    return "for ever" if keep_alive < 0 else format_duration(keep_alive)


def _fields(effect: Effect) -> dict[str, object]:
    """What JSON can say of it, named as in the code; the runner options are left out, they may hold a client's text."""
    values: dict[str, object] = {name: getattr(effect, name) for name in effect.__match_args__}
    scalars = {name: value for name, value in values.items() if isinstance(value, str | int | float)}
    return {"effect": type(effect).__name__.lower(), **scalars}
