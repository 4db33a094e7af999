"""Replays a workload in virtual time, on the model of Ollama's scheduler that the simulated Ollama runs on.

Holds no rule of its own: Ollama's are in `proxy.sim.scheduler`, keepwarm's in `proxy.engine`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from proxy.domain.events import Ending
from proxy.sim.models import FOREVER_SECONDS, ModelSpec, SchedulerOptions
from proxy.sim.outcomes import Kind, Outcome
from proxy.sim.replay.agenda import Agenda
from proxy.sim.replay.contender import Direct
from proxy.sim.replay.direct import DirectFront
from proxy.sim.replay.managed import ManagedFront
from proxy.sim.replay.result import Ledger, Left, Result, unnoticed
from proxy.sim.scheduler import Scheduler

if TYPE_CHECKING:
    from proxy.sim.replay.contender import Contender, MachineSpec
    from proxy.sim.replay.workload import Workload

SEQUENTIAL_SERVICE_SECONDS = 0.01
"""One at a time, only the waiting counts: answers are cut to this."""

_PATIENCE_SECONDS = 3600.0


def simulate(
    workload: Workload,
    machine: MachineSpec,
    contender: Contender,
    *,
    seed: int,
    overlapping: bool,
    left: Left = unnoticed,
) -> Result:
    """Replay a workload; the same arguments give the same result to the last bit.

    Args:
        workload: who asks for what when; a client gives up after it has waited an hour.
        machine: what it runs on.
        contender: who decides what stays loaded.
        seed: of what Ollama leaves to chance, the order of its models' digests included.
        overlapping: requests arrive at their times. If not, one at a time: each at its time, or when the one before it
            is over, and answers take 0.01 s at most.
        left: called for each residency when it is over, or the workload is, with the model's name, the time at which
            its load began, and the time at which it left.
    """
    ledger = Ledger(workload.models, machine.gpu_bytes, len(workload.arrivals), left)
    return _Replay(workload, machine, contender, seed, ledger, overlapping=overlapping).run()


class _Replay:
    """One replay under way."""

    def __init__(
        self,
        workload: Workload,
        machine: MachineSpec,
        contender: Contender,
        seed: int,
        ledger: Ledger,
        *,
        overlapping: bool,
    ) -> None:
        self._arrivals = workload.arrivals
        self._overlapping = overlapping
        self._unfinished = len(workload.arrivals)
        self._waiting: dict[int, float] = {}
        self._watched = False
        self._agenda = Agenda()
        self._ledger = ledger
        specs = _specs(workload, seed)
        self._scheduler = Scheduler(_options(machine, contender), random.Random(seed))  # noqa: S311 - a simulation
        self._front = (
            DirectFront(self._scheduler, specs)
            if isinstance(contender, Direct)
            else ManagedFront(
                self._scheduler,
                self._agenda,
                specs,
                contender,
                self._ledger,
                machine.gpu_bytes if machine.driver_told else None,
                self._unfinished,
            )
        )

    def run(self) -> Result:
        """Let everything happen."""
        agenda, scheduler = self._agenda, self._scheduler
        now = 0.0
        self._plan_arrival(now, 0)
        while self._unfinished:
            ollama_at = scheduler.next_event_at()
            now = min(ollama_at, agenda.next_at())
            if now < ollama_at:
                agenda.do_next()
            while outcomes := scheduler.advance(now):
                for outcome in outcomes:
                    self._note(outcome)
        return self._ledger.close(now)

    def _plan_arrival(self, at: float, index: int) -> None:
        if index < len(self._arrivals):
            self._agenda.at(max(at, self._arrivals[index].at), self._arrive, index)

    def _arrive(self, at: float, index: int) -> None:
        if self._overlapping:
            self._plan_arrival(at, index + 1)
        self._waiting[index] = at
        if not self._watched:
            self._watched = True
            self._agenda.at(at + _PATIENCE_SECONDS, self._lose_patience, None)
        self._front.arrived(at, index, self._arrivals[index].model)

    def _note(self, outcome: Outcome) -> None:
        kind, request = outcome.kind, outcome.request_id
        if kind > Kind.FAILED:
            self._ledger.note(outcome)
            self._front.stirred(outcome.at)
        elif request >= len(self._arrivals):
            self._front.called(outcome)
        elif kind is Kind.GRANTED:
            self._front.granted(outcome.at, request)
        elif kind is Kind.STARTED:
            self._start(outcome.at, request)
        else:
            self._fail(outcome.at, request, Ending.UPSTREAM_ERROR)

    def _start(self, at: float, index: int) -> None:
        _, model, service_seconds = self._arrivals[index]
        self._ledger.started(index, model, at - self._waiting.pop(index), at)
        if not self._overlapping:
            service_seconds = min(service_seconds, SEQUENTIAL_SERVICE_SECONDS)
        self._agenda.at(at + service_seconds, self._answer, index)

    def _answer(self, at: float, index: int) -> None:
        self._ledger.ended(self._arrivals[index].model, at)
        self._end(at, index, Ending.ANSWERED)

    def _lose_patience(self, at: float, _: None) -> None:
        """Those who have waited for an hour give up."""
        for index, since in tuple(self._waiting.items()):
            if since + _PATIENCE_SECONDS > at:
                self._agenda.at(since + _PATIENCE_SECONDS, self._lose_patience, None)
                return
            self._fail(at, index, Ending.CLIENT_GONE)
        self._watched = False

    def _fail(self, at: float, index: int, ending: Ending) -> None:
        self._ledger.failed(index, at - self._waiting.pop(index))
        self._end(at, index, ending)

    def _end(self, at: float, index: int, ending: Ending) -> None:
        self._unfinished -= 1
        self._front.ended(at, index, ending)
        if not self._overlapping:
            self._plan_arrival(at, index + 1)


def _specs(workload: Workload, seed: int) -> list[ModelSpec]:
    """Give the models digests in an order of chance: among equals, Ollama evicts the smallest first."""
    digests = [f"{number:064x}" for number in range(len(workload.models))]
    random.Random(seed).shuffle(digests)  # noqa: S311 - a simulation
    return [
        ModelSpec(model.name, digest, model.bytes, model.load_seconds)
        for model, digest in zip(workload.models, digests, strict=True)
    ]


def _options(machine: MachineSpec, contender: Contender) -> SchedulerOptions:
    keep_alive = contender.keep_alive_seconds if isinstance(contender, Direct) else Direct().keep_alive_seconds
    return SchedulerOptions(
        gpu_bytes=machine.gpu_bytes,
        max_loaded_models=machine.max_models,
        default_keep_alive_seconds=keep_alive if keep_alive >= 0 else FOREVER_SECONDS,
        num_parallel=machine.num_parallel,
        max_queue=machine.max_queue,
        driver_lag_seconds=machine.driver_lag_seconds,
    )
