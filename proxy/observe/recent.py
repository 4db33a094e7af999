"""The last decisions, each with its reason in one sentence, for the page and `/state`. Keeps a few, takes none."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from proxy.domain.effects import Cause, Left, Load, Loaded, ManagementFailed, Regretted, Unload
from proxy.domain.events import ABOUT_RESIDENTS, ResidentsObserved, ResidentsUnknown, SettingsChanged
from proxy.domain.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.domain.effects import Effect
    from proxy.domain.events import Happening

_KEPT: Final = 50
_TOLD: Final = frozenset({Unload, Load, Loaded, Left, Regretted, ManagementFailed})
_UNLOADED: Final = {
    Cause.EVICTION: "to make room",
    Cause.ROOM_AHEAD: "to have room ready for what is likely to be asked for next",
    Cause.EXPIRY: "not used for long enough",
    Cause.RELOAD: "to be loaded again",
    Cause.SPILL: "to be loaded again",
    Cause.CLIENT: "a client asked for it",
}
_LEFT: Final = {  # by itself, before we unloaded it
    **_UNLOADED,
    Cause.EXPIRY: "its keep_alive ran out",
    Cause.UPSTREAM: "Ollama made room by itself",
}


class Kind(StrEnum):
    """What was decided, or found to have happened."""

    LOADED = "loaded"
    EVICTED = "evicted"
    LEFT = "left"
    REGRETTED = "regretted"
    FAILED = "failed"
    UPSTREAM = "upstream"
    SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class RecentDecision:
    """One decision, or what was noticed instead of one.

    Attributes:
        at: unix seconds.
        model: canonical name; None: it is about no single model.
        reason: one sentence, without the model's name at its beginning.
    """

    at: float
    kind: Kind
    model: str | None
    reason: str


class RecentDecisions:
    """Remembers the last 50."""

    def __init__(self) -> None:
        """Begin with an upstream of which nothing was heard."""
        self._kept: deque[RecentDecision] = deque(maxlen=_KEPT)
        self._upstream_known: bool | None = None
        self._unloading: str | None = None
        self._why_room = self._why_load = ""

    def latest(self) -> list[RecentDecision]:
        """Return them, the last one first."""
        return list(reversed(self._kept))

    def observe(self, event: Happening, effects: Iterable[Effect]) -> None:
        """Take in one event and what the engine made of it."""
        if isinstance(event, ABOUT_RESIDENTS):
            self._upstream(event)
        elif isinstance(event, SettingsChanged):
            self._note(event.at, Kind.SETTINGS, None, "Settings read again; they hold from now on.")
        for effect in effects:
            if type(effect) in _TOLD:  # not what happens with every request
                self._effect(event.at, effect)

    def _upstream(self, event: ResidentsObserved | ResidentsUnknown) -> None:
        """Note only the change: `/api/ps` is asked every few seconds."""
        known = isinstance(event, ResidentsObserved)
        if known is not self._upstream_known:
            self._upstream_known = known
            why = (
                f"Ollama does not tell what is loaded, requests pass as they come: {event.reason}."
                if isinstance(event, ResidentsUnknown)
                else "Ollama answers; its models are managed."
            )
            self._note(event.at, Kind.UPSTREAM, None, why)

    def _effect(self, at: float, effect: Effect) -> None:
        match effect:
            case Unload(model=model, cause=cause, reason=reason):
                self._unloading, self._why_room = model, reason
                kind = Kind.EVICTED if cause in (Cause.EVICTION, Cause.ROOM_AHEAD) else Kind.LEFT
                self._note(at, kind, model, f"{_said(_UNLOADED.get(cause, str(cause)))}: {_about(model, reason)}.")
            case Load(reason=reason):
                self._why_load = reason
            case Loaded():
                self._loaded(at, effect)
            case Left(model=model, cause=cause, bytes=size):
                if model != self._unloading:
                    why = _said(_LEFT.get(cause, str(cause)))
                    self._note(at, Kind.LEFT, model, f"{why}; {format_bytes(size)} free.")
                self._unloading = None
            case Regretted(model=model, seconds_since=seconds):
                ago = format_duration(seconds)
                self._note(at, Kind.REGRETTED, model, f"Asked for again {ago} after it had to leave.")
            case ManagementFailed(model=model, what=what, error=error):
                self._unloading = None
                self._note(at, Kind.FAILED, model, f"{_said(what)} failed, who waited passes as they came: {error}.")
            case _:
                raise TypeError(f"{effect} is not told")

    def _loaded(self, at: float, loaded: Loaded) -> None:
        made_room = bool(self._why_load) and self._why_load == self._why_room
        why = "in the room just made" if made_room else self._why_load or "asked for"
        spill = f", {format_bytes(loaded.spilled_bytes)} of it not on the GPU" if loaded.spilled_bytes else ""
        took = f"Took {format_duration(loaded.seconds)}, {format_bytes(loaded.bytes)}{spill}"
        self._note(at, Kind.LOADED, loaded.model, f"{took}; {why}.")
        self._why_room = self._why_load = ""

    def _note(self, at: float, kind: Kind, model: str | None, reason: str) -> None:
        self._kept.append(RecentDecision(at, kind, model, reason))


def _about(model: str, reason: str) -> str:
    """Where the reason speaks of several victims, what it says of this one."""
    own = [part.partition(" leaves: ")[2] for part in reason.split("; ") if part.startswith(f"{model} leaves: ")]
    return own[0] if own else reason


def _said(text: str) -> str:
    return text[:1].upper() + text[1:]
