"""Clients that ask the real Ollama for different contexts: reloads at each turn, and none with `num_ctx: unify`."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.keepwarm_process import Keepwarm, running_keepwarm
from tests.e2e.proxy_fixtures import FAST, Happenings, ask, pause_is_over
from tests.e2e.real_ollama import RealOllama

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama

pytestmark = pytest.mark.e2e

MODEL = "llama3.2:1b"
SHORT, LONG = ({"options": {"num_ctx": num_ctx, "num_predict": 8}} for num_ctx in (2048, 8192))


async def context(ollama: RealOllama) -> int:
    (line,) = await ollama.ps()
    return int(line["context_length"])


async def turns(keepwarm: Keepwarm, ollama: RealOllama, *bodies: dict[str, Any], path: str = "/api/chat") -> list[int]:
    """Each body is asked with in turn; the contexts that `/api/ps` shows after each."""
    contexts = []
    for body in bodies:
        await pause_is_over(ollama)
        await ask(keepwarm.url, MODEL, path, **body)
        contexts.append(await context(ollama))
    return contexts


async def test_without_unify_each_switch_between_two_clients_reloads_the_model(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(FAST)
    async with running_keepwarm(ollama.url) as keepwarm:
        happenings = Happenings(ollama)
        assert await turns(keepwarm, ollama, SHORT, LONG, SHORT, LONG) == [2048, 8192, 2048, 8192]
        assert happenings.of("loaded") == [MODEL] * 4


async def test_with_unify_both_clients_are_served_by_the_longer_context(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(FAST)
    async with running_keepwarm(ollama.url, {"num_ctx": "unify"}) as keepwarm:
        happenings = Happenings(ollama)
        assert await turns(keepwarm, ollama, SHORT, LONG, SHORT, LONG, SHORT, {}) == [2048, *[8192] * 5]
        assert await turns(keepwarm, ollama, SHORT, {}, path="/api/generate") == [8192, 8192]
        assert happenings.of("loaded") == [MODEL] * 2  # the first one, and the longer context when it was asked for
        assert await keepwarm.metric("keepwarm_reloads_total") == 1


async def test_with_unify_the_model_comes_back_with_the_context_that_serves_both(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(FAST)
    async with running_keepwarm(ollama.url, {"models": {MODEL: {"num_ctx": "unify"}}}) as keepwarm:
        await turns(keepwarm, ollama, SHORT, LONG)
        await ask(keepwarm.url, MODEL, keep_alive=0, prompt="")
        happenings = Happenings(ollama)
        assert await turns(keepwarm, ollama, SHORT, LONG, SHORT) == [8192] * 3
        assert happenings.of("loaded") == [MODEL]


async def test_with_unify_a_model_used_through_v1_too_stays_with_ollamas_own_context(
    start_ollama: "StartOllama",
) -> None:
    ollama = await start_ollama(FAST)
    async with running_keepwarm(ollama.url, {"num_ctx": "unify"}) as keepwarm:
        (automatic,) = await turns(keepwarm, ollama, {}, path="/v1/chat/completions")
        assert automatic > 2048
        happenings = Happenings(ollama)
        for _ in range(3):
            assert await turns(keepwarm, ollama, SHORT) == [automatic]
            assert await turns(keepwarm, ollama, {}, path="/v1/chat/completions") == [automatic]
        assert happenings.all() == []
