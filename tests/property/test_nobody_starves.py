"""Whoever asks for what: as long as answers end and loads succeed, every held request is forwarded within a bound.

Users ask again and again, as busily as they can, for models that don't fit in together and with options that contradict
each other; an answer takes at most SERVICE seconds, which is less than `max_wait`. The bound for a request before which
`ahead` other models (or the same with other options) wait:

    max_wait                  until then those in use may have had their turns
    + (ahead + 2) times       those that wait, what was going on when the request came, and the request itself:
        SERVICE               busy victims run idle, since they are given nothing new meanwhile
        + SWAP                up to three victims are unloaded, and the model is loaded
        + 3 * LOAD            up to three younger ones that disturb nobody may go ahead, until nothing is free
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import hypothesis.strategies as st
from hypothesis import given, settings

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.domain.model import Endpoint, ModelFacts, ModelRequest, ObservedResident, RunnerOptions
from proxy.engine.engine import Engine
from proxy.policy import UsageBook
from tests.unit.engine.transcript import GIB, SETTINGS, T0

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = {f"m{gib}:latest": gib * GIB for gib in (2, 5, 9, 10, 17, 30)}  # of a 24 GiB budget; one is bigger
UNLOAD, LOAD, TOUCH, SERVICE = 1.0, 6.0, 0.01, 40.0
SWAP = 3 * (UNLOAD + TOUCH) + SETTINGS.settle_seconds + LOAD
LASTS, MAX_REQUESTS = 1200.0, 400


class Ask(NamedTuple):
    """One step of what a user does over and over: wait, ask, get an answer that takes so long."""

    pause: float
    model: str
    num_ctx: int | None
    service: float


def bound(ahead: int) -> float:
    return SETTINGS.max_wait_seconds + (ahead + 2) * (SERVICE + SWAP + 3 * LOAD)


class World:
    """Users in front of an engine, and an Ollama that does what it is told, each thing in its time."""

    def __init__(self, users: list[list[Ask]]) -> None:
        self.engine = Engine(SETTINGS, UsageBook())
        self.at = T0
        self.users = users
        self.asked = [0] * len(users)
        self.waiting: dict[int, tuple[int, Ask, float, float]] = {}
        self.loaded: dict[str, int] = {}
        self.wake = 0
        self._ids = count(1)
        self._order = count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._observe()
        for user in range(len(users)):
            self._next_ask(user)

    def run(self) -> None:
        """Let them ask for a while, then until everyone is served; fails as soon as someone waited too long."""
        while self._agenda and (self.at < T0 + LASTS or self.waiting):
            self.at, _, happens = heapq.heappop(self._agenda)
            happens()
            for _, ask, _, latest in self.waiting.values():
                assert self.at <= latest, f"{ask} still waits"
        assert not self.waiting

    def _after(self, seconds: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.at + seconds, next(self._order), happens))

    def _next_ask(self, user: int) -> None:
        ask = self.users[user][self.asked[user] % len(self.users[user])]
        self.asked[user] += 1
        if self.at < T0 + LASTS and self.asked[user] <= MAX_REQUESTS:
            self._after(ask.pause, lambda: self._ask(user, ask))

    def _ask(self, user: int, ask: Ask) -> None:
        number = next(self._ids)
        groups = {(held.model, held.wants) for held in self.engine.state.held.values()}
        self.waiting[number] = user, ask, self.at, self.at + bound(len(groups))
        options = RunnerOptions(() if ask.num_ctx is None else (("num_ctx", ask.num_ctx),))
        facts = ModelFacts(ask.model, f"sha256-{ask.model}", SIZES[ask.model])
        self._happens(ev.RequestArrived(self.at, number, ModelRequest(ask.model, Endpoint.CHAT, options), facts))

    def _happens(self, event: ev.Event) -> None:
        for effect in self.engine.handle(event):
            self._carry_out(effect)

    def _carry_out(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Forward():
                user, ask, _, _ = self.waiting.pop(effect.request_id)
                self._after(ask.service, lambda: self._answered(user, effect.request_id))
            case fx.Load():
                self._after(LOAD, lambda: self._is_loaded(effect))
            case fx.Unload():
                self._after(UNLOAD, lambda: self._is_unloaded(effect))
            case fx.Touch():
                self._after(TOUCH, lambda: self._happens(ev.TouchEnded(self.at, effect.model)))
            case fx.Settle():
                self._after(effect.seconds, lambda: self._happens(ev.Settled(self.at)))
            case fx.Observe():
                self._after(0.0, self._observe)
            case fx.WakeAt():
                self.wake += 1
                wake = self.wake
                self._after(max(0.0, effect.at - self.at), lambda: self._tick(wake))
            case _:
                pass

    def _tick(self, wake: int) -> None:
        if wake == self.wake:  # a later WakeAt replaces an earlier one
            self._happens(ev.Tick(self.at))

    def _answered(self, user: int, number: int) -> None:
        self._happens(ev.RequestEnded(self.at, number, ev.Ending.ANSWERED, 200))
        self._next_ask(user)

    def _is_loaded(self, load: fx.Load) -> None:
        self.loaded[load.model] = load.options.num_ctx or 4096
        self._happens(ev.LoadEnded(self.at, load.model, LOAD))
        self._observe()

    def _is_unloaded(self, unload: fx.Unload) -> None:
        self.loaded.pop(unload.model, None)
        self._happens(ev.UnloadEnded(self.at, unload.model, UNLOAD))

    def _observe(self) -> None:
        ours = {resident.model: resident.expires_at for resident in self.engine.state.residents.values()}
        lines = tuple(
            ObservedResident(
                model, size, min(size, 24 * GIB), num_ctx, ours.get(model, self.at + 300), f"sha256-{model}"
            )
            for model, num_ctx in self.loaded.items()
            for size in (SIZES[model],)
        )
        self._happens(ev.ResidentsObserved(self.at, self.at, lines))


ASKS = st.builds(
    Ask,
    pause=st.sampled_from([0.0, 0.1, 3.0, 20.0]),
    model=st.sampled_from(sorted(SIZES)),
    num_ctx=st.sampled_from([None, None, 4096, 16384]),
    service=st.sampled_from([0.1, 5.0, SERVICE]),
)


@given(st.lists(st.lists(ASKS, min_size=1, max_size=4), min_size=2, max_size=10))
@settings(max_examples=40, deadline=None)
def test_every_held_request_is_forwarded_within_a_bound(users: list[list[Ask]]) -> None:
    World(users).run()


def test_a_model_that_many_use_without_a_pause_does_not_keep_another_one_waiting_for_ever() -> None:
    busy = [[Ask(0.0, "m17:latest", None, service)] for service in (7.0, 11.0, 13.0, SERVICE)]
    World([*busy, [Ask(1.0, "m10:latest", None, 5.0)]]).run()
