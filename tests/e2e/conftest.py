"""Real Ollamas for end-to-end tests: built once, started as asked for, stopped whatever happens."""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from tests.e2e.ollama_build.install import OllamaBuildError, install_ollama
from tests.e2e.ollama_build.model_template import STANDARD_MODELS, PretendedModel
from tests.e2e.real_ollama import RealOllama, RealOllamaOptions, running_ollama

_BUILD_SECONDS = 1800


class StartOllama(Protocol):
    """Starts a real Ollama that is stopped after the test (or the module)."""

    async def __call__(
        self, options: RealOllamaOptions | None = None, models: Iterable[PretendedModel] = STANDARD_MODELS
    ) -> RealOllama: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs Ollama may have to build it: it gets the time."""
    for item in items:
        if "ollama_install" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(_BUILD_SECONDS))
            return


@pytest.fixture(scope="session")
def ollama_install() -> Path:
    """The folder of the real Ollama, built if the cache has none (`make e2e` shows the progress)."""
    try:
        return install_ollama()
    except OllamaBuildError as error:
        message = f"no real Ollama: {error}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture
async def start_ollama(ollama_install: Path) -> AsyncIterator[StartOllama]:
    """Starts Ollamas for one test."""
    async with AsyncExitStack() as stack:
        yield _starter(stack, ollama_install)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def start_module_ollama(ollama_install: Path) -> AsyncIterator[StartOllama]:
    """Starts Ollamas that the tests of a module share."""
    async with AsyncExitStack() as stack:
        yield _starter(stack, ollama_install)


def _starter(stack: AsyncExitStack, build: Path) -> StartOllama:
    async def start(
        options: RealOllamaOptions | None = None, models: Iterable[PretendedModel] = STANDARD_MODELS
    ) -> RealOllama:
        ollama = await stack.enter_async_context(running_ollama(options, models, build=build))
        stack.callback(lambda: print(f"\n--- {ollama}\n{ollama.log_tail(60)}"))  # noqa: T201 - seen if the test fails
        return ollama

    return start
