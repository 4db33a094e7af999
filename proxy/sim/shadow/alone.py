"""Ollama alone, asked for the same models at the same times: how long would each request have waited?

Holds no rule of its own: they are in `proxy.sim.scheduler`. Never reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from proxy.sim.outcomes import Kind
from proxy.sim.replay.agenda import Agenda

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.sim.models import ModelSpec, RunnerOptions
    from proxy.sim.outcomes import Outcome
    from proxy.sim.scheduler import Scheduler

_CALM_SECONDS = 6.0  # longer than Ollama waits after an unload, when it counts no ends


class Ask(NamedTuple):
    """A request of the past.

    Attributes:
        at: when it came, unix seconds; none of them before the one that was told before.
        keep_alive_seconds: what it carries: None for nothing, negative for ever.
        service_seconds: how long its model works for it.
        over_at: when it really was over.
        leaves_at: when its client gives up if it still waits; infinity: never.
        waited_seconds: what it really waited; None: not known.
        client: who asks; a client that asks after an answer asks because it has it.
    """

    at: float
    spec: ModelSpec
    keep_alive_seconds: float | None
    options: RunnerOptions
    service_seconds: float
    over_at: float
    leaves_at: float = inf
    waited_seconds: float | None = None
    client: str = ""


@dataclass(slots=True)
class _Waiting:
    ask: Ask
    since: float


@dataclass(slots=True, eq=False)
class _Use:
    """A model at work: from one request on, until the last that followed it soon enough is over.

    `request_id` is that of the first, which stands for all of them; `running`: the scheduler was not told of its end.
    """

    request_id: int
    spec: ModelSpec
    options: RunnerOptions
    kept_seconds: float
    ends_at: float
    running: bool = True


class OllamaAlone:
    """Follows requests in virtual time; it is as late as the last `ask`, `unload` or `advance`.

    Most requests find their model loaded and nobody waiting. Those only make the use of their model last longer, which
    the scheduler is told once, when something happens that depends on it: that makes no difference, and costs little.

    Args:
        scheduler: nobody else may drive it.
        settled: called with each request and the seconds that it would have waited.
    """

    def __init__(self, scheduler: Scheduler, settled: Callable[[Ask, float], None]) -> None:
        self.scheduler = scheduler
        self._settled = settled
        self._agenda = Agenda()
        self._requests = 0
        self._waiting: dict[int, _Waiting] = {}
        self._uses: dict[str, _Use] = {}
        """By weights; only those that one more request of the same kind is sure to prolong, if it comes in time."""
        self._left_at = -inf
        self._now = -inf

    @property
    def waiting(self) -> bool:
        """Whether anyone still waits."""
        return bool(self._waiting)

    def prolongs(self, spec: ModelSpec, keep_alive_seconds: float | None, at: float, ends_at: float) -> bool:
        """Tell whether a request with this very spec, and the options of the last, only prolongs the use of its model.

        It need not wait then, and is taken note of: there is nothing more to `ask`.
        """
        use = self._uses.get(spec.weights)
        if use is None or use.spec is not spec or self._waiting or at >= use.ends_at + use.kept_seconds:
            return False
        if keep_alive_seconds is not None and keep_alive_seconds != use.kept_seconds:
            return False
        use.ends_at = max(use.ends_at, ends_at)
        if not use.running:
            self._resume(use)
        return True

    def ask(self, ask: Ask) -> None:
        """A request comes in."""
        self.advance(ask.at)
        self._uses.pop(ask.spec.weights, None)
        self._requests += 1
        number = self._requests
        self._waiting[number] = _Waiting(ask, ask.at)
        self.scheduler.submit(ask.at, number, ask.spec, ask.keep_alive_seconds, ask.options)
        self._hear(ask.at)
        if number in self._waiting:
            self._uses.clear()  # someone may have to leave for it
            if ask.leaves_at < inf:
                self._agenda.at(ask.leaves_at, self._give_up, number)

    def unload(self, at: float, spec: ModelSpec) -> None:
        """A client asks for the model to leave."""
        self.advance(at)
        self._uses.pop(spec.weights, None)
        self.scheduler.unload(at, spec)

    def advance(self, until: float) -> None:
        """Let everything happen that is due until then."""
        while True:
            ollama_at, ours_at = self.scheduler.next_event_at(), self._agenda.next_at()
            at = min(ollama_at, ours_at)
            if at > until:
                return
            if ours_at < ollama_at:
                self._agenda.do_next()
            self._hear(at)

    def _hear(self, at: float) -> None:
        self._now = at
        for outcome in self.scheduler.advance(at):
            if outcome.kind is Kind.GRANTED:
                self._begin(outcome)
            elif outcome.kind is Kind.REFUSED:
                self._settled(self._waiting.pop(outcome.request_id).ask, 0.0)
            elif outcome.kind is Kind.UNLOADED:
                self._left_at = outcome.at

    def _begin(self, granted: Outcome) -> None:
        at, number = granted.at, granted.request_id
        waiting = self._waiting.pop(number)
        ask, spec = waiting.ask, waiting.ask.spec
        self._settled(ask, max(0.0, at - waiting.since))
        use = _Use(number, spec, ask.options, self.scheduler.kept_seconds(spec) or 0.0, at + ask.service_seconds)
        self._agenda.at(use.ends_at, self._end, use)
        for other in self._waiting.values():
            if other.ask.client == ask.client and other.ask.at >= ask.over_at:
                other.since = max(other.since, use.ends_at)  # who came after this answer comes after it here too
        if not self._waiting and at - self._left_at > _CALM_SECONDS:
            self._uses[spec.weights] = use

    def _resume(self, use: _Use) -> None:
        """Stop the timer of a model that is idle, no matter when before it runs out."""
        self._requests += 1
        use.request_id, use.running = self._requests, True
        self.scheduler.submit(self._now, use.request_id, use.spec, None, use.options)
        self.scheduler.advance(self._now)  # it is granted at once: there is nothing to hear
        self._agenda.at(use.ends_at, self._end, use)

    def _end(self, at: float, use: _Use) -> None:
        if use.ends_at > at:
            self._agenda.at(use.ends_at, self._end, use)
            return
        use.running = False
        self.scheduler.end(at, use.request_id)

    def _give_up(self, at: float, number: int) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            self._settled(waiting.ask, max(0.0, at - waiting.since))
            self.scheduler.end(at, number)
