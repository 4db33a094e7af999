"""How long each phase of a request took, put together from events and effects. Never reads a clock, never sees a body.

Metrics and the usage history both consume the `FinishedRequest`s that come out, so nothing is measured twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from proxy.domain.access import KEYLESS
from proxy.domain.effects import Forward, Outcome
from proxy.domain.events import AnswerFigures, Ending, RequestArrived, RequestEnded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.domain.effects import Effect
    from proxy.domain.events import Happening
    from proxy.domain.model import Endpoint, ModelFacts, RunnerOptions


class FinishedRequest(NamedTuple):
    """A model request that is over.

    Attributes:
        request_id: its number in the log, counted from the start of the process.
        at: when it arrived, unix seconds.
        model: canonical name; text that a client made up, unless `known`.
        known: whether Ollama knows the model.
        outcome: COLD too for a request that ended while it was held: who is held waits for a load.
        status: HTTP status that the client got; 0: none.
        wait_seconds: from its arrival until it was forwarded, or ended unforwarded.
        ttft_seconds: from its arrival to the first byte of the answer's body; None: there was none.
        e2e_seconds: from its arrival to its end.
        figures: what Ollama told in the answer's last object.
        forward: how it was sent on; None: it ended before.
        client: name of the client's key, or that of all without one.
        keep_alive: what the client asked for, in seconds; negative: for ever; None: it did not ask.
        is_unload: it only asked for the model to leave.
        facts: what Ollama tells of the model; None: not `known`.
    """

    request_id: int
    at: float
    model: str
    known: bool
    endpoint: Endpoint
    options: RunnerOptions
    outcome: Outcome
    ending: Ending
    status: int
    wait_seconds: float
    ttft_seconds: float | None
    e2e_seconds: float
    figures: AnswerFigures
    forward: Forward | None = None
    client: str = KEYLESS
    keep_alive: float | None = None
    is_unload: bool = False
    facts: ModelFacts | None = None


@dataclass(slots=True)
class _Live:
    arrived: RequestArrived
    forwarded_at: float | None = None
    forward: Forward | None = None

    def finish(self, ended: RequestEnded) -> FinishedRequest:
        arrived_at, request_id, request, facts, client = self.arrived
        return FinishedRequest(  # by position: with each request, and names take twice as long
            request_id,
            arrived_at,
            request.model,
            facts is not None,
            request.endpoint,
            request.options,
            Outcome.COLD if self.forward is None else self.forward.outcome,
            ended.ending,
            ended.status,
            (ended.at if self.forwarded_at is None else self.forwarded_at) - arrived_at,
            None if ended.started_at is None else ended.started_at - arrived_at,
            ended.at - arrived_at,
            ended.figures,
            self.forward,
            client,
            request.keep_alive,
            request.is_unload,
            facts,
        )


class Timelines:
    """Follows the requests that are not over yet."""

    def __init__(self, max_live: int = 65_536) -> None:
        """Follow at most `max_live` requests at once; the oldest is no longer followed when one more arrives."""
        self._max_live = max_live
        self._live: dict[int, _Live] = {}

    def all_over_until(self) -> float:
        """Return the time before which every request that arrived is over, unix seconds; infinity: none is left."""
        return next((live.arrived.at for live in self._live.values()), math.inf)

    def observe(self, event: Happening, effects: Iterable[Effect]) -> list[FinishedRequest]:
        """Take in one event and what the engine made of it; return the requests that are over now."""
        if isinstance(event, RequestArrived):
            if len(self._live) >= self._max_live:
                del self._live[next(iter(self._live))]
            self._live[event.request_id] = _Live(event)
        for effect in effects:
            if isinstance(effect, Forward) and (live := self._live.get(effect.request_id)):
                live.forwarded_at = event.at
                live.forward = effect
        if isinstance(event, RequestEnded) and (live := self._live.pop(event.request_id, None)):
            return [live.finish(event)]
        return []
