"""Drives an engine as a transcript: say what happens, read what it wants done. No loop, no clock, no sleep."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.access import KEYLESS
from proxy.domain.model import Endpoint, ModelFacts, ModelRequest, ObservedResident, RunnerOptions, canonical
from proxy.domain.settings import ClientKeepAlive, EngineSettings, ModelRule
from proxy.engine.engine import Engine
from proxy.policy import UsageBook

if TYPE_CHECKING:
    from collections.abc import Sequence

GIB = 2**30
T0 = 1_800_000_000.0
SETTINGS = EngineSettings(
    policy="adaptive",
    budget_bytes=24 * GIB,
    reserve_bytes=0,
    max_models=None,
    price_seconds_per_gib_hour=0.005,
    settle_seconds=0.5,
    poll_seconds=5.0,
    keep_alive_min_seconds=300.0,
    keep_alive_max_seconds=86400.0,
    client_keep_alive=ClientKeepAlive.IGNORE,
    max_wait_seconds=60.0,
    warm_up=True,
)
_Effect = TypeVar("_Effect")


class Transcript:
    """One engine, its time, and an Ollama that does just what it is told."""

    def __init__(
        self, sizes_gib: dict[str, float], rules: Sequence[tuple[str, ModelRule]] = (), **settings: Any
    ) -> None:
        self.engine = Engine(replace(SETTINGS, rules=tuple(rules), **settings), UsageBook())
        self.sizes = {canonical(name): int(gib * GIB) for name, gib in sizes_gib.items()}
        self.at = T0
        self.resident: dict[str, ObservedResident] = {}
        self.effects: list[fx.Effect] = []
        self.log: list[fx.Effect] = []
        self.todo: list[fx.Load | fx.Unload | fx.Touch | fx.Settle] = []
        self.client = KEYLESS  # who asks
        self._next_id = 0

    def happens(self, event: ev.Event) -> list[fx.Effect]:
        done = next((effect for effect in self.todo if _reports(event, effect)), None)
        if done is not None:
            self.todo.remove(done)
        self.effects = self.engine.handle(event)
        self.log += self.effects
        self.todo += [e for e in self.effects if isinstance(e, fx.Load | fx.Unload | fx.Touch | fx.Settle)]
        return self.effects

    def after(self, seconds: float) -> Transcript:
        self.at += seconds
        return self

    def asks(
        self,
        model: str,
        *,
        endpoint: Endpoint = Endpoint.CHAT,
        keep_alive: float | None = None,
        options: dict[str, Any] | None = None,
        shift: bool | None = None,
        unload: bool = False,
        known: bool = True,
        weights: str = "",
    ) -> int:
        """A client asks for the model; returns the id of its request."""
        self._next_id += 1
        name = canonical(model)
        request = ModelRequest(
            name, endpoint, RunnerOptions(tuple(sorted((options or {}).items())), shift), keep_alive, unload
        )
        facts = ModelFacts(name, weights or f"sha256-{name}", self.sizes.get(name, GIB)) if known else None
        self.happens(ev.RequestArrived(self.at, self._next_id, request, facts, self.client))
        return self._next_id

    def ends(
        self, request_id: int, ending: ev.Ending = ev.Ending.ANSWERED, figures: ev.AnswerFigures | None = None
    ) -> list[fx.Effect]:
        figures = figures or ev.AnswerFigures()
        return self.happens(ev.RequestEnded(self.at, request_id, ending, 200, figures))

    def ps(self, *lines: ObservedResident, asked_at: float | None = None) -> list[fx.Effect]:
        """`/api/ps` shows these, or else what was loaded so far, with the times that our keep_alives lead to."""
        ours = {r.shown: r.expires_at for r in self.engine.state.residents.values() if r.written is not None}
        loaded = (line._replace(expires_at=ours.get(name, line.expires_at)) for name, line in self.resident.items())
        shown = tuple(lines) or tuple(loaded)
        return self.happens(ev.ResidentsObserved(self.at, self.at if asked_at is None else asked_at, shown))

    def line(
        self,
        model: str,
        *,
        gib: float | None = None,
        vram_gib: float | None = None,
        context: int = 4096,
        expires_in: float = 300,
        weights: str | None = None,
    ) -> ObservedResident:
        name = canonical(model)
        size = self.sizes[name] if gib is None else int(gib * GIB)
        vram = size if vram_gib is None else int(vram_gib * GIB)
        identity = f"sha256-{name}" if weights is None else weights
        return ObservedResident(name, size, vram, context, self.at + expires_in, identity)

    def loads(self, model: str, *, seconds: float = 2.0, **line: Any) -> list[fx.Effect]:
        """The load that the engine asked for succeeds, and `/api/ps` shows it."""
        name = canonical(model)
        self.after(seconds)
        self.happens(ev.LoadEnded(self.at, name, seconds))
        self.resident[name] = self.line(name, **line)
        return self.ps()

    def unloads(self, model: str, *, seconds: float = 0.01) -> list[fx.Effect]:
        """The unload that the engine asked for succeeds."""
        name = canonical(model)
        self.after(seconds)
        self.resident.pop(name, None)
        return self.happens(ev.UnloadEnded(self.at, name, seconds))

    def settles(self, seconds: float = 0.5) -> list[fx.Effect]:
        """Time to settle is over, and touches on their way arrive, until something else is to be done."""
        self.after(seconds).happens(ev.Settled(self.at))
        while touches := self.of(fx.Touch):
            for touch in touches:
                self.after(0.001).happens(ev.TouchEnded(self.at, touch.model))
            for effect in self.of(fx.Settle):
                self.after(effect.seconds).happens(ev.Settled(self.at))
        return self.effects

    def ticks(self) -> list[fx.Effect]:
        return self.happens(ev.Tick(self.at))

    def carries_out(self) -> list[fx.Effect]:
        """What the engine asked for and nobody reported yet succeeds: the oldest of it."""
        match self.todo[0]:
            case fx.Load(model=model):
                return self.loads(model)
            case fx.Unload(model=model):
                return self.unloads(model)
            case fx.Touch(model=model):
                return self.after(0.001).happens(ev.TouchEnded(self.at, model))
            case fx.Settle(seconds=seconds):
                return self.settles(seconds)

    def warmed(self, *models: str) -> Transcript:
        """Each model was asked for, loaded, and answered; 10 s passed after each."""
        if not self.engine.state.known:
            self.ps()
        for model in models:
            request_id = self.asks(model)
            while request_id not in self.forwarded():
                self.carries_out()
            self.ends(request_id)
            self.after(10)
        return self

    def of(self, kind: type[_Effect]) -> list[_Effect]:
        """The effects of this kind that the last event caused."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def one(self, kind: type[_Effect]) -> _Effect:
        found = self.of(kind)
        assert len(found) == 1, f"expected one {kind.__name__}, got {self.effects}"
        return found[0]

    def forwarded(self) -> dict[int, fx.Forward]:
        """Every request that was forwarded so far."""
        return {effect.request_id: effect for effect in self.log if isinstance(effect, fx.Forward)}


def _reports(event: ev.Event, effect: fx.Effect) -> bool:
    match event, effect:
        case ev.Settled(), fx.Settle():
            return True
        case (
            (ev.LoadEnded(model=done), fx.Load(model=asked))
            | (ev.UnloadEnded(model=done), fx.Unload(model=asked))
            | (ev.TouchEnded(model=done), fx.Touch(model=asked))
        ):
            return done == asked
    return False
