"""The offline simulator promises what the proxy does: the same requests through real sockets lead to the same loads.

The real app, the simulated Ollama and the clients share one event loop whose time jumps over all waiting, so that an
hour and a half takes seconds.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from statistics import mean
from typing import TYPE_CHECKING

import aiohttp
import pytest

from proxy.app import running_app
from proxy.server.clock import SteadyClock
from proxy.settings import SettingsFile
from proxy.sim.catalog import MIB, SimModel
from proxy.sim.replay.contender import MachineSpec, Managed
from proxy.sim.replay.simulator import simulate
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel
from proxy.sim.server import SimulatedOllama
from proxy.sim.site import SimulatedOllamaOptions
from tests.integration.conftest import settings_file
from tests.integration.jumping_loop import JumpingLoop

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.domain.settings import EngineSettings

REQUESTS = 2000
MEAN_GAP_SECONDS = 2.5
TOKENS_PER_SECOND = 100.0
OPTIONS = SimulatedOllamaOptions(
    models=tuple(
        SimModel(name=f"m{number}", mib=mib, head_dim=0)  # no context to predict: a model is as big as its file
        for number, mib in enumerate((1331, 2048, 3379, 4813, 5325, 9216, 9318, 17408))
    ),
    num_parallel=64,
    load_mib_per_second=8192.0,
    tokens_per_second=TOKENS_PER_SECOND,
    answer_tokens=400,  # at most; each request says how many
)
MODELS = tuple(
    WorkloadModel(
        f"{model.name}:latest",
        model.mib * MIB,
        model.mib / OPTIONS.load_mib_per_second + OPTIONS.load_overhead_seconds,
    )
    for model in OPTIONS.models
)
MACHINE = MachineSpec(gpu_bytes=OPTIONS.gpu_mib * MIB, num_parallel=OPTIONS.num_parallel)


def sessions(seed: int) -> Workload:
    """Some requests to one model after the other, answers of 0.1 to 4 s that now and then overlap."""
    dice = random.Random(seed)
    at, model, arrivals = 0.0, 0, []
    for _ in range(REQUESTS):
        at += dice.expovariate(1 / MEAN_GAP_SECONDS)
        if dice.random() < 0.4:
            model = dice.choices(range(len(MODELS)), [1 / (rank + 1) for rank in range(len(MODELS))])[0]
        arrivals.append(Arrival(at, model, dice.randint(10, 400) / TOKENS_PER_SECOND))
    return Workload(MODELS, arrivals)


async def ask(session: aiohttp.ClientSession, arrival: Arrival) -> float:
    """Asks when the time has come; the seconds waited until the model worked on it."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(arrival.at - loop.time())
    tokens = round(arrival.service_seconds * TOKENS_PER_SECOND)
    body = {"model": MODELS[arrival.model].name, "prompt": "hi", "stream": False, "options": {"num_predict": tokens}}
    async with session.post("/api/generate", json=body) as answer:
        content = await answer.json()
        assert answer.status == 200, content
        assert content["eval_count"] == tokens
    return loop.time() - arrival.at - arrival.service_seconds


async def send(work: Workload, folder: Path) -> tuple[int, float, EngineSettings]:
    """Sends the workload through the proxy; loads, seconds waited, and the settings it ran with."""
    ollama = SimulatedOllama(OPTIONS)
    async with AsyncExitStack() as stack:
        upstream = await ollama.start()
        stack.push_async_callback(ollama.stop)
        file = SettingsFile(settings_file(folder, upstream, upstream={"connect_timeout": "1h"}), {})
        clock = SteadyClock(asyncio.get_running_loop().time)
        app = await stack.enter_async_context(running_app(file, clock))
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(app.client_url, connector=connector))
        waits = await asyncio.gather(*(ask(session, arrival) for arrival in work.arrivals))
        return ollama.tally.loads.total(), sum(waits), file.current.engine()


def test_the_loads_of_two_thousand_requests_are_those_that_the_simulator_foretells(tmp_path: Path) -> None:
    work = sessions(seed=1)
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        loads, waited, settings = runner.run(send(work, tmp_path))
    foretold = [simulate(work, MACHINE, Managed(settings), seed=seed, overlapping=True) for seed in range(5)]
    assert loads == pytest.approx(mean(result.loads for result in foretold), rel=0.02)
    # What the kernel or a thread hands over late, on a busy machine, takes no time here but some there.
    assert waited == pytest.approx(mean(result.wait_seconds for result in foretold), rel=0.25)
