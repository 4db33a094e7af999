from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.domain import events as ev
from proxy.domain.effects import Forward, KeepAlive, Outcome
from proxy.domain.model import Endpoint, ModelFacts, ModelRequest, ObservedResident, RunnerOptions, canonical
from proxy.engine.engine import Engine
from proxy.policy import UsageBook
from proxy.server.clock import SteadyClock
from proxy.server.dispatcher import Dispatcher
from proxy.server.refused import RefusedError
from proxy.server.waiting import Waiting
from proxy.upstream.api import UpstreamError
from proxy.upstream.catalogue import Catalogue
from proxy.upstream.gpu import GpuMemory
from tests.unit.engine.transcript import GIB, SETTINGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SIZES = {"small": 4, "middle": 9, "large": 10, "other": 9}
PATIENCE_SECONDS = 5.0


@dataclass
class Ollama:
    """An Ollama in memory with OllamaApi's methods; what is in `failing` fails, what is in `hanging` never answers."""

    calls: list[str] = field(default_factory=list)
    loaded: dict[str, ObservedResident] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    under_way: int = 0
    most_under_way: int = 0

    async def residents(self) -> tuple[ObservedResident, ...]:
        await self._called("ps", "ps")
        return tuple(self.loaded.values())

    async def facts(self, model: str) -> ModelFacts | None:
        return facts(model)

    async def load(self, model: str, options: RunnerOptions, keep_alive: int, *, embedding_only: bool) -> None:
        kind = "touch" if model in self.loaded else "load"
        await self._called(kind, f"{kind} {model} {dict(options.values)} {keep_alive >= 300} {embedding_only}")
        size = SIZES[model.removesuffix(":latest")] * GIB
        self.loaded[model] = ObservedResident(model, size, size, options.num_ctx or 4096)

    async def unload(self, model: str, patience_seconds: float) -> None:
        await self._called("unload", f"unload {model} {patience_seconds:g}")
        self.loaded.pop(model, None)

    async def _called(self, kind: str, text: str) -> None:
        self.calls.append(text)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await (asyncio.Event().wait() if kind in self.hanging else asyncio.sleep(0))
        finally:
            self.under_way -= 1
        if kind in self.failing:
            raise UpstreamError(f"{kind} failed")


class Probe:
    """A GPU whose free memory is told from a list; the last value stays."""

    def __init__(self, *free_gib: float | None) -> None:
        self.free_gib = deque(free_gib)
        self.reads = 0

    def read(self) -> GpuMemory | None:
        self.reads += 1
        free = self.free_gib.popleft() if len(self.free_gib) > 1 else self.free_gib[0]
        return None if free is None else GpuMemory(24 * GIB, int(free * GIB), 1, "NVML")


@dataclass
class Running:
    """A dispatcher that runs, and every event that it gave to the engine."""

    dispatcher: Dispatcher
    engine: Engine
    ollama: Ollama
    events: list[ev.Event]
    happened: asyncio.Condition

    async def asks(
        self, model: str, *, endpoint: Endpoint = Endpoint.CHAT, options: dict[str, Any] | None = None
    ) -> tuple[int, Forward]:
        name, request_id = canonical(model), self.dispatcher.next_id()
        request = ModelRequest(name, endpoint, RunnerOptions(tuple((options or {}).items())))
        async with asyncio.timeout(PATIENCE_SECONDS):
            return request_id, await self.dispatcher.admit(request_id, request, facts(name))

    def ends(self, request_id: int) -> None:
        self.dispatcher.post(ev.RequestEnded(self.dispatcher.now(), request_id, ev.Ending.ANSWERED, 200))

    async def answers(self, model: str) -> None:
        self.ends((await self.asks(model))[0])

    async def until(self, holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until it is so after some event.

        Raises:
            TimeoutError: it never was.
        """
        async with asyncio.timeout(seconds), self.happened:
            await self.happened.wait_for(holds)

    def kinds(self, since: int = 0) -> list[type]:
        return [type(event) for event in self.events[since:]]

    def last(self, kind: type[Any]) -> Any:
        return next(event for event in reversed(self.events) if isinstance(event, kind))


def facts(model: str) -> ModelFacts | None:
    size = SIZES.get(model.removesuffix(":latest"))
    return None if size is None else ModelFacts(model, f"sha256-{model}", size * GIB)


@asynccontextmanager
async def running(
    ollama: Ollama | None = None,
    probe: Probe | None = None,
    clock: Callable[[], float] | None = None,
    most_waiting: int = 100,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Run a dispatcher that has looked at what is resident."""
    ollama = ollama or Ollama()
    engine = Engine(replace(SETTINGS, **{"settle_seconds": 0.0, **settings}), UsageBook())
    events: list[ev.Event] = []
    happened = asyncio.Condition()
    notified: set[asyncio.Task[None]] = set()

    async def notify() -> None:
        async with happened:
            happened.notify_all()

    def note(event: ev.Event, _: object) -> None:
        events.append(event)
        task = asyncio.get_running_loop().create_task(notify())
        notified.add(task)
        task.add_done_callback(notified.discard)

    api: Any = ollama
    catalogue = Catalogue(api)
    dispatcher = Dispatcher(
        engine, api, catalogue, clock or SteadyClock(), probe, [note], Waiting(lambda: most_waiting)
    )
    try:
        await dispatcher.observe()
        yield Running(dispatcher, engine, ollama, events, happened)
    finally:
        await dispatcher.close()
        await catalogue.close()
        await asyncio.gather(*notified)


# Effects lead to calls, calls to events


async def test_a_cold_request_is_loaded_for_and_ps_is_asked_after_the_load_before_it_goes_on() -> None:
    async with running() as run:
        _, forward = await run.asks("small", options={"num_ctx": 8192})
        assert forward.outcome is Outcome.COLD
        assert run.ollama.calls == ["ps", "load small:latest {'num_ctx': 8192} True False", "ps"]
        assert run.kinds() == [ev.ResidentsObserved, ev.RequestArrived, ev.LoadEnded, ev.ResidentsObserved]
        assert run.last(ev.LoadEnded).error is None


async def test_a_warm_request_costs_no_call() -> None:
    async with running() as run:
        await run.answers("small")
        calls = len(run.ollama.calls)
        _, forward = await run.asks("small")
        assert forward.outcome is Outcome.WARM
        assert len(run.ollama.calls) == calls


async def test_a_swap_is_carried_out_in_the_order_unload_settle_load_ps() -> None:
    async with running() as run:
        await run.answers("middle")
        await run.answers("large")
        events, calls = len(run.events), len(run.ollama.calls)
        await run.asks("other")
        unload, load, ps = run.ollama.calls[calls:]
        assert unload in ("unload middle:latest 12", "unload large:latest 12")
        assert (load.split()[:2], ps) == (["load", "other:latest"], "ps")
        swap = [kind for kind in run.kinds(events) if kind not in (ev.Tick, ev.Settled)]
        assert swap == [ev.RequestArrived, ev.UnloadEnded, ev.LoadEnded, ev.ResidentsObserved]


async def test_all_who_wait_for_one_load_go_on_with_it() -> None:
    async with running() as run:
        forwards = await asyncio.gather(*(run.asks("small") for _ in range(5)))
        assert {forward.outcome for _, forward in forwards} == {Outcome.COLD}
        assert sum(call.startswith("load") for call in run.ollama.calls) == 1


async def test_beside_an_openai_request_the_model_is_touched_and_the_touch_reported() -> None:
    ollama = Ollama(loaded={"small:latest": ObservedResident("small:latest", 4 * GIB, 4 * GIB, 4096)})
    async with running(ollama) as run:
        _, forward = await run.asks("small", endpoint=Endpoint.V1_CHAT)
        assert forward.keep_alive is KeepAlive.AS_IT_CAME
        await run.until(lambda: ev.TouchEnded in run.kinds())
        assert run.last(ev.TouchEnded).error is None
        assert "touch small:latest {} True False" in run.ollama.calls


async def test_an_unknown_model_goes_on_as_it_came_without_a_call() -> None:
    async with running() as run:
        _, forward = await run.asks("nobody")
        assert forward.outcome is Outcome.PASSTHROUGH
        assert run.ollama.calls == ["ps"]


async def test_the_time_that_the_engine_asked_to_be_woken_at_comes() -> None:
    async with running(max_models=1, max_wait_seconds=0.05) as run:
        await run.asks("middle")
        waiting = asyncio.create_task(run.asks("other"))
        await run.until(lambda: run.kinds().count(ev.RequestArrived) == 2)
        assert ev.Tick not in run.kinds()
        _, forward = await run.asks("middle")  # held for the sake of the one that waits, but no longer than max_wait
        assert forward.outcome is Outcome.WARM
        tick, arrived = run.last(ev.Tick), run.last(ev.RequestArrived)
        assert tick.at >= arrived.at
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_request_that_was_cancelled_is_no_longer_answered_but_its_load_goes_on() -> None:
    async with running(Ollama(hanging={"load"})) as run:
        waiting = asyncio.create_task(run.asks("small"))
        await run.until(lambda: ev.RequestArrived in run.kinds())
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert run.ollama.under_way == 1
        run.dispatcher.post(ev.RequestEnded(run.dispatcher.now(), 1, ev.Ending.CLIENT_GONE))
        assert run.ollama.under_way == 1


async def test_what_only_the_observers_need_is_told_to_them() -> None:
    async with running() as run:
        run.dispatcher.note(ev.PassthroughEnded(run.dispatcher.now(), "GET", "/", 200, ev.Ending.ANSWERED, 0.1))
        assert run.kinds() == [ev.ResidentsObserved, ev.PassthroughEnded]


async def test_no_number_is_given_to_two_requests() -> None:
    async with running() as run:
        assert len({run.dispatcher.next_id() for _ in range(100)}) == 100


# What fails is told to the engine


async def test_a_load_that_fails_is_reported_and_the_request_goes_on_as_it_came() -> None:
    async with running(Ollama(failing={"load"})) as run:
        _, forward = await run.asks("small")
        assert forward.outcome is Outcome.PASSTHROUGH
        assert run.last(ev.LoadEnded).error == "load failed"


async def test_an_unload_that_fails_is_reported_and_the_request_goes_on_as_it_came() -> None:
    async with running() as run:
        await run.answers("middle")
        await run.answers("large")
        run.ollama.failing.add("unload")
        _, forward = await run.asks("other")
        assert forward.outcome is Outcome.PASSTHROUGH
        assert run.last(ev.UnloadEnded).error == "unload failed"


async def test_a_touch_that_fails_is_reported_and_ps_is_asked() -> None:
    ollama = Ollama(loaded={"small:latest": ObservedResident("small:latest", 4 * GIB, 4 * GIB)}, failing={"touch"})
    async with running(ollama) as run:
        await run.asks("small", endpoint=Endpoint.V1_CHAT)
        await run.until(lambda: run.kinds()[-1] is ev.ResidentsObserved and ev.TouchEnded in run.kinds())
        assert run.last(ev.TouchEnded).error == "touch failed"
        assert run.ollama.calls[-1] == "ps"


async def test_ps_that_fails_is_reported_and_requests_go_on_as_they_came() -> None:
    async with running(Ollama(failing={"ps"})) as run:
        assert run.last(ev.ResidentsUnknown).reason == "ps failed"
        assert not run.dispatcher.manages
        _, forward = await run.asks("small")
        assert forward.outcome is Outcome.PASSTHROUGH
        run.ollama.failing.clear()
        await run.dispatcher.observe()
        assert run.dispatcher.manages


async def test_ps_that_fails_after_a_load_lets_those_who_waited_go_on() -> None:
    async with running() as run:
        run.ollama.failing.add("ps")
        _, forward = await run.asks("small")
        assert forward.outcome is Outcome.PASSTHROUGH


# Looking


async def test_ps_is_never_asked_twice_at_once() -> None:
    async with running() as run:
        await asyncio.gather(*(run.dispatcher.observe() for _ in range(5)))
        assert run.ollama.most_under_way == 1
        assert run.ollama.calls == ["ps"] * 6


async def test_residents_are_looked_at_again_and_again_as_often_as_the_settings_say_at_that_time() -> None:
    pauses = iter([0.0, 0.0, 3600.0])
    async with running() as run:
        polling = asyncio.create_task(run.dispatcher.poll(lambda: next(pauses)))
        await run.until(lambda: run.kinds().count(ev.ResidentsObserved) == 4)  # one at the start
        polling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await polling
        with pytest.raises(StopIteration):
            next(pauses)


async def test_an_observation_says_when_it_was_asked_for_not_when_it_came() -> None:
    async with running() as run:
        observed = run.last(ev.ResidentsObserved)
        assert observed.asked_at <= observed.at
        before = run.dispatcher.now()
        await run.dispatcher.observe()
        assert before <= run.last(ev.ResidentsObserved).asked_at <= run.last(ev.ResidentsObserved).at


# With a driver that tells the memory


async def test_the_memory_that_the_driver_tells_reaches_the_engine() -> None:
    async with running(probe=Probe(22), budget_bytes=None, reserve_bytes=GIB) as run:
        observed = run.last(ev.MemoryObserved)
        assert (observed.total_bytes, observed.free_bytes, observed.gpus) == (24 * GIB, 22 * GIB, 1)
        assert run.engine.state.budget.usable(run.engine.state.settings) == 21 * GIB  # others use 2, 1 is reserved


async def test_a_driver_that_cannot_tell_at_present_is_no_news() -> None:
    async with running(probe=Probe(None)) as run:
        assert ev.MemoryObserved not in run.kinds()
        assert (await run.asks("small"))[1].outcome is Outcome.COLD


async def test_what_is_resident_when_the_proxy_starts_does_not_count_as_used_by_others() -> None:
    ollama = Ollama(loaded={"large:latest": ObservedResident("large:latest", 10 * GIB, 10 * GIB, 4096)})
    async with running(ollama, Probe(14), budget_bytes=None) as run:
        assert run.engine.state.budget.others == 0
        assert run.engine.state.budget.usable(run.engine.state.settings) == 24 * GIB


async def test_after_an_unload_the_driver_is_asked_until_the_memory_is_free() -> None:
    probe = Probe(24)
    async with running(probe=probe) as run:
        await run.answers("middle")
        await run.answers("large")
        probe.free_gib, probe.reads = deque([1, 1, 1, 12]), 0
        await run.asks("other")
        load = next(index for index, call in enumerate(run.ollama.calls) if call.startswith("load other"))
        assert run.ollama.calls[load - 1].startswith("unload")
        assert probe.reads >= 4
        assert ev.Settled in run.kinds()


async def test_a_driver_that_falls_silent_while_it_is_waited_for_holds_nobody_up() -> None:
    probe = Probe(24)
    async with running(probe=probe) as run:
        await run.answers("middle")
        await run.answers("large")
        probe.free_gib = deque([None])
        assert (await run.asks("other"))[1].outcome is Outcome.COLD


async def test_memory_that_never_becomes_free_is_waited_for_5_seconds_at_most() -> None:
    steady, jumps = SteadyClock(), iter(range(10_000))
    hurried = False

    def clock() -> float:  # each look at it takes half a second once it is hurried
        return steady() + (next(jumps) * 0.5 if hurried else 0.0)

    probe = Probe(24)
    async with running(probe=probe, clock=clock) as run:
        await run.answers("middle")
        await run.answers("large")
        probe.free_gib, probe.reads, hurried = deque([0]), 0, True
        assert (await run.asks("other"))[1].outcome is Outcome.COLD
        assert 2 <= probe.reads <= 12


# The end


async def test_closing_cancels_and_awaits_whatever_was_begun() -> None:
    before = asyncio.all_tasks()
    async with running(Ollama(hanging={"load"})) as run:
        waiting = asyncio.create_task(run.asks("small"))
        await run.until(lambda: ev.RequestArrived in run.kinds())
        await asyncio.sleep(0)  # the load is begun
        assert run.ollama.under_way == 1
        await run.dispatcher.close()
        assert run.ollama.under_way == 0
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert asyncio.all_tasks() == before


async def test_closing_waits_for_nothing_when_nothing_was_begun() -> None:
    async with running() as run:
        await run.dispatcher.close()
        await run.dispatcher.close()
        assert run.kinds() == [ev.ResidentsObserved]


async def test_after_closing_the_engine_is_woken_no_more() -> None:
    async with running(max_models=1, max_wait_seconds=0.05) as run:
        await run.asks("middle")
        waiting = asyncio.create_task(run.asks("other"))
        await run.until(lambda: run.kinds().count(ev.RequestArrived) == 2)
        await run.dispatcher.close()
        with pytest.raises(TimeoutError):
            await run.until(lambda: ev.Tick in run.kinds(), seconds=0.15)
        waiting.cancel()


async def test_what_has_run_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with running() as run:
        for model in ("small", "middle", "large", "other", "small"):
            await run.answers(model)
        await run.asks("small", endpoint=Endpoint.V1_CHAT)
    assert asyncio.all_tasks() == before


# Limits


async def test_who_waits_takes_a_place_and_who_is_warm_takes_none() -> None:
    async with running(Ollama(hanging={"load"}), most_waiting=1) as run:
        waiting = asyncio.create_task(run.asks("small"))
        await run.until(lambda: ev.RequestArrived in run.kinds())
        with pytest.raises(RefusedError):
            await run.asks("middle")
        assert run.kinds().count(ev.RequestArrived) == 1  # the engine never heard of the second one
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        run.ollama.hanging.clear()
    async with running(most_waiting=1) as run:
        for _ in range(3):
            await run.asks("small")  # the first one waits until it is loaded, none of them ends
