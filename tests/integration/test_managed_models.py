"""The real app in front of the simulated Ollama: what it manages, and that nothing it manages can hurt a request."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from proxy.sim.server import SimulatedOllama
from proxy.sim.site import SimulatedOllamaOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.conftest import Proxy, StartProxy

SPEED = 20.0  # simulated seconds per second
MODELS = (
    "llama3.2:1b",
    "llama3.2:3b",
    "gemma3:4b",
    "llama3.1:8b",
    "qwen3:8b",
    "deepseek-r1:14b",
    "phi4:14b",
    "gemma3:27b",
)


@pytest.fixture
async def ollama() -> AsyncIterator[SimulatedOllama]:
    simulated = SimulatedOllama(SimulatedOllamaOptions(speed=SPEED, num_parallel=4))
    await simulated.start()
    yield simulated
    await simulated.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as opened:
        yield opened


async def ask(session: aiohttp.ClientSession, proxy: Proxy, model: str, **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": False, **more}
    async with session.post(f"{proxy.client_url}/api/chat", json=body) as answer:
        content: dict[str, Any] = await answer.json()
        assert answer.status == 200, content
        return content


async def state(session: aiohttp.ClientSession, proxy: Proxy) -> dict[str, Any]:
    async with session.get(f"{proxy.admin_url}/state") as answer:
        content: dict[str, Any] = await answer.json()
        return content


async def shown(session: aiohttp.ClientSession, ollama: SimulatedOllama) -> list[dict[str, Any]]:
    async with session.get(f"{ollama.url}/api/ps") as answer:
        content: dict[str, Any] = await answer.json()
        models: list[dict[str, Any]] = content["models"]
        return models


async def test_many_requests_in_any_order_are_all_answered_and_nothing_spills(
    ollama: SimulatedOllama, start_proxy: StartProxy, session: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ollama.url, memory={"budget": "24GiB", "settle": "10ms"})
    rng = random.Random(7)

    async def client() -> None:
        for _ in range(12):
            await ask(session, proxy, rng.choice(MODELS))
            await asyncio.sleep(rng.random() / SPEED)

    await asyncio.gather(*(client() for _ in range(6)))
    assert sum(ollama.tally.spilled.values()) == 0
    after = await state(session, proxy)
    assert (after["waiting"], after["in_flight"], after["operation"]) == (0, 0, None)
    assert {r["model"] for r in after["residents"]} == {line["name"] for line in await shown(session, ollama)}


async def test_two_models_that_alternate_for_many_waiting_clients_are_served_in_batches(
    ollama: SimulatedOllama, start_proxy: StartProxy, session: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ollama.url, memory={"budget": "24GiB", "settle": "0s"})
    turns = ["gemma3:27b", "deepseek-r1:14b"] * 6  # never both at once
    await asyncio.gather(*(ask(session, proxy, model) for model in turns))
    assert sum(ollama.tally.loads.values()) == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"refuse_unload": True},
        {"ps_status": 500},
        {"ps_garbage": True},
        {"failing_loads": {"nobody:latest"}},
    ],
    ids=lambda fault: next(iter(fault)),
)
async def test_whatever_fails_in_our_own_management_the_requests_are_answered(
    ollama: SimulatedOllama, start_proxy: StartProxy, session: aiohttp.ClientSession, fault: dict[str, Any]
) -> None:
    proxy = await start_proxy(ollama.url)
    await ask(session, proxy, "gemma3:27b")
    for name, value in fault.items():
        setattr(ollama.faults, name, value)
    await ask(session, proxy, "phi4:14b")  # has to push the other one out
    await ask(session, proxy, "gemma3:27b")
    ollama.faults.refuse_unload = ollama.faults.ps_garbage = False
    ollama.faults.ps_status = None
    await ask(session, proxy, "phi4:14b")
    assert (await state(session, proxy))["waiting"] == 0


async def test_a_load_that_fails_reaches_the_client_in_ollamas_own_words(
    ollama: SimulatedOllama, start_proxy: StartProxy, session: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ollama.url)
    ollama.faults.failing_loads.add("phi4:14b")
    body = {"model": "phi4:14b", "prompt": "hi"}
    async with session.post(f"{proxy.client_url}/api/generate", json=body) as answer:
        through = (answer.status, await answer.json())
    async with session.post(f"{ollama.url}/api/generate", json=body) as answer:
        assert through == (answer.status, await answer.json())
    assert through[0] == 500


async def test_models_that_others_evict_are_noticed_with_the_next_poll(
    ollama: SimulatedOllama, start_proxy: StartProxy, session: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ollama.url, residency={"poll": "100ms"})
    await ask(session, proxy, "gemma3:4b")
    async with session.post(f"{ollama.url}/api/generate", json={"model": "gemma3:4b", "keep_alive": 0}) as answer:
        assert answer.status == 200
    for _ in range(100):
        if not (await state(session, proxy))["residents"]:
            break
        await asyncio.sleep(0.05)
    assert (await state(session, proxy))["residents"] == []


async def test_the_admin_port_explains_a_model_and_counts_its_requests(
    ollama: SimulatedOllama, start_proxy: StartProxy, session: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ollama.url)
    await ask(session, proxy, "gemma3:4b")
    await ask(session, proxy, "gemma3:4b")
    async with session.get(f"{proxy.admin_url}/models/Gemma3:4B/explain") as answer:
        explanation = await answer.json()
    assert explanation["kept_because"].startswith("kept ")
    assert explanation["decisions"]
    async with session.get(f"{proxy.admin_url}/metrics") as answer:
        text = await answer.text()
    assert 'keepwarm_requests_total{client="keyless",endpoint="/api/chat",model="gemma3:4b",outcome="cold"} 1.0' in text
    assert 'keepwarm_requests_total{client="keyless",endpoint="/api/chat",model="gemma3:4b",outcome="warm"} 1.0' in text
    async with session.get(f"{proxy.admin_url}/models/nobody/explain") as answer:
        assert answer.status == 404
    async with session.get(f"{proxy.admin_url}/healthz") as answer:
        assert answer.status == 200
    async with session.get(f"{proxy.admin_url}/readyz") as answer:
        assert answer.status == 200
    async with session.post(f"{proxy.admin_url}/reload") as answer:
        assert await answer.json() == {"reloaded": True, "problems": []}


async def test_a_client_that_leaves_during_a_load_does_not_stop_it(
    ollama: SimulatedOllama, start_proxy: StartProxy, session: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ollama.url)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.08):  # the load takes 4.5 simulated seconds, 0.22 real ones
            await ask(session, proxy, "gemma3:27b")
    for _ in range(100):
        if await shown(session, ollama):
            break
        await asyncio.sleep(0.02)
    await ask(session, proxy, "gemma3:27b")
    assert ollama.tally.loads["gemma3:27b"] == 1
    assert ollama.tally.aborted_loads.total() == 0
