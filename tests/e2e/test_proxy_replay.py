"""What the offline simulator foretells is what happens on the real Ollama: loads, and seconds waited."""

import asyncio
import random
import time
from statistics import median
from typing import TYPE_CHECKING

import pytest

from proxy.domain.units import GIB
from proxy.settings import SettingsFile
from proxy.sim.replay.contender import MachineSpec, Managed
from proxy.sim.replay.simulator import simulate
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel
from tests.e2e.keepwarm_process import running_keepwarm
from tests.e2e.ollama_build.model_template import STANDARD_MODELS
from tests.e2e.proxy_fixtures import Happenings, ask
from tests.e2e.real_ollama import RealOllamaOptions

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama

pytestmark = pytest.mark.e2e

REQUESTS = 110
LOAD_MIB_PER_SECOND = 8192
LOAD_OVERHEAD_SECONDS = 0.25
PRETENDED = [model for model in STANDARD_MODELS if model.kind == "llm"]
MODELS = tuple(
    WorkloadModel(model.name, model.mib << 20, model.mib / LOAD_MIB_PER_SECOND + LOAD_OVERHEAD_SECONDS)
    for model in PRETENDED
)
RUNS = 200  # the real one is one more: not often the most extreme of them all
LOAD_LATE_SECONDS = 0.5
"""How much longer than pretended a load takes on a busy machine with 2 cores, at most."""


def sessions(seed: int) -> Workload:
    """One person's requests: some to one model, a pause, some to another; now and then a pause to make room in."""
    dice = random.Random(seed)
    at, arrivals = 0.0, []
    while len(arrivals) < REQUESTS:
        [model] = dice.choices(range(len(MODELS)), [1 / (rank + 1) for rank in range(len(MODELS))])
        at += dice.choice((0.2, 0.5, 1.0, 6.0))
        for _ in range(dice.randint(1, 6)):
            at += dice.uniform(0.1, 0.6)
            arrivals.append(Arrival(at, model, 0.01))
    return Workload(MODELS, arrivals[:REQUESTS])


async def send(url: str, work: Workload) -> list[float]:
    """Sends one request after the other, none before its time; what each one waited for its model."""
    began, waits = time.monotonic(), []
    for arrival in work.arrivals:
        await asyncio.sleep(began + arrival.at - time.monotonic())
        answer = await ask(url, MODELS[arrival.model].name, options={"num_predict": 4})
        told = answer.json()
        worked = told.get("prompt_eval_duration", 0) + told.get("eval_duration", 0)
        waits.append(answer.seconds - worked / 1e9)
    return waits


async def test_a_replay_through_the_proxy_ends_as_the_simulator_foretells(start_ollama: "StartOllama") -> None:
    work = sessions(seed=1)
    ollama = await start_ollama(RealOllamaOptions(load_mib_per_s=LOAD_MIB_PER_SECOND), PRETENDED)
    async with running_keepwarm(ollama.url, {"policy": "adaptive"}) as keepwarm:
        happenings = Happenings(ollama)
        waits = await send(keepwarm.url, work)
        settings = SettingsFile(keepwarm.config, {}).current.engine()
    machine = MachineSpec(gpu_bytes=24 * GIB)
    foretold = [simulate(work, machine, Managed(settings), seed=seed, overlapping=False) for seed in range(RUNS)]
    loads, seconds = [result.loads for result in foretold], [result.wait_seconds for result in foretold]
    loaded = len(happenings.of("loaded"))
    warm = median(waits)  # most requests are: what they wait is the way there and back
    waited = sum(wait - warm for wait in waits)
    assert min(loads) <= loaded <= max(loads)
    assert 0.9 * min(seconds) <= waited <= max(seconds) + LOAD_LATE_SECONDS * loaded
