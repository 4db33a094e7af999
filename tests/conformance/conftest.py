"""The Ollamas under test: the simulated one always, the real one where `-m e2e` asks for it."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import aiohttp
import pytest

from proxy.sim.catalog import SimModel
from proxy.sim.server import SimulatedOllama
from proxy.sim.site import SimulatedOllamaOptions
from tests.conformance.subject import Ollama, Setup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.conformance.subject import Model

    StartOllama = Callable[[Setup], Awaitable[Ollama]]

SIMULATED_SPEED = 4.0  # the simulated one's seconds per second
_ENDLESS_TOKENS = 60000


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.e2e)])
def kind(request: pytest.FixtureRequest) -> str:
    """Which Ollama is under test."""
    return str(request.param)


@pytest.fixture
async def start(kind: str) -> AsyncIterator[StartOllama]:
    """Starts Ollamas for one test."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def start_one(setup: Setup) -> Ollama:
            if kind == "simulated":
                simulated = SimulatedOllama(_simulated(setup))
                stack.push_async_callback(simulated.stop)
                return Ollama(await simulated.start(), session, SIMULATED_SPEED)
            return Ollama(await _start_real(stack, setup), session, 1.0)

        yield start_one


def _simulated(setup: Setup) -> SimulatedOllamaOptions:
    given = {
        "max_loaded_models": setup.max_loaded_models,
        "num_parallel": setup.num_parallel,
        "max_queue": setup.max_queue,
        "default_keep_alive_seconds": setup.keep_alive_seconds,
    }
    return SimulatedOllamaOptions(
        models=tuple(_simulated_model(model) for model in setup.models),
        gpu_mib=setup.gpu_mib,
        load_mib_per_second=setup.load_mib_per_s,
        driver_lag_seconds=setup.release_ms / 1000,
        tokens_per_second=1000,
        speed=SIMULATED_SPEED,
        **{name: value for name, value in given.items() if value is not None},
    )


def _simulated_model(model: Model) -> SimModel:
    return SimModel(
        name=model.name,
        mib=model.mib,
        weights=f"{model.seed} embedding" if model.embedding else str(model.seed),
        embedding=model.embedding,
        answer_tokens=_ENDLESS_TOKENS if model.endless else None,
    )


async def _start_real(stack: AsyncExitStack, setup: Setup) -> str:
    from tests.e2e.ollama_build.install import OllamaBuildError, install_ollama  # noqa: PLC0415 - only for the real one
    from tests.e2e.ollama_build.model_template import PretendedModel  # noqa: PLC0415  needs packages of the e2e extra
    from tests.e2e.real_ollama import RealOllamaOptions, running_ollama  # noqa: PLC0415 - only for the real one

    try:
        build = await asyncio.to_thread(install_ollama)
    except OllamaBuildError as error:
        if os.environ.get("CI"):
            pytest.fail(f"no real Ollama: {error}")
        pytest.skip(f"no real Ollama: {error}")
    options = RealOllamaOptions(
        gpu_mib=setup.gpu_mib,
        load_mib_per_s=setup.load_mib_per_s,
        release_ms=setup.release_ms,
        max_loaded_models=setup.max_loaded_models,
        num_parallel=setup.num_parallel,
        keep_alive=None if setup.keep_alive_seconds is None else f"{setup.keep_alive_seconds}s",
        env={} if setup.max_queue is None else {"OLLAMA_MAX_QUEUE": str(setup.max_queue)},
    )
    models = [
        PretendedModel(
            name=model.name,
            seed=model.seed,
            mib=model.mib,
            kind="embed" if model.embedding else "llm",
            eos=0 if model.endless else 0.5,
        )
        for model in setup.models
    ]
    real = await stack.enter_async_context(running_ollama(options, models, build=build))
    stack.callback(lambda: print(f"\n--- {real}\n{real.log_tail(60)}"))  # noqa: T201  seen if the test fails
    return real.url
