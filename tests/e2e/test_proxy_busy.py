"""A cold model beside one that is busy with a long answer: what the proxy does so that nobody waits for its end."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e.keepwarm_process import running_keepwarm
from tests.e2e.ollama_build.model_template import ENDLESS_MODELS, PretendedModel
from tests.e2e.proxy_fixtures import FAST, Happenings, ask, endless, post, resident, until
from tests.e2e.real_ollama import RealOllama

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama

pytestmark = pytest.mark.e2e

HUGE, WIDE, LARGE, TINY = (
    PretendedModel(name=name, seed=seed, mib=mib)
    for name, seed, mib in (("huge", 4, 14336), ("wide", 7, 10240), ("large", 8, 18432), ("tiny", 1, 600))
)
LONG_TOKENS = 6_000
"""An answer of 18 s here: much longer than any load. The time grows with the square of it, 12,000 take 81 s."""


async def test_who_is_idle_is_loaded_anew_where_ollama_would_wait_for_the_busy_one(start_ollama: "StartOllama") -> None:
    """Ollama asks one of those that stay what is free, and only the new one knows: it asks that one 7 times in 8."""
    tries: list[list[str]] = []
    while len(tries) < 3 and "wide" not in (tries[-1] if tries else ()):
        tries.append(await asked_beside_a_busy_model(await start_ollama(FAST, (HUGE, ENDLESS_MODELS[0], TINY, WIDE))))
    assert tries[-1] == ["tiny", "wide"], tries  # without the load of tiny, wide is there after the long answer


async def asked_beside_a_busy_model(ollama: RealOllama) -> list[str]:
    """Ask for wide where huge can leave, but endless-a and tiny were loaded when huge was there and believe it is.

    Returns:
        Who is loaded within ten seconds, while endless-a is busy.
    """
    async with running_keepwarm(ollama.url) as keepwarm:
        await ask(keepwarm.url, "huge")
        await ask(keepwarm.url, "endless-a", options={"num_predict": 1})
        await ask(keepwarm.url, "tiny")
        busy = asyncio.create_task(post(keepwarm.url, "/api/generate", endless("/api/generate")))
        await asyncio.sleep(11)  # a model that was loaded in the last ten seconds is not loaded anew
        happenings = Happenings(ollama)
        asked = asyncio.create_task(ask(keepwarm.url, "wide"))
        await asyncio.wait({asked}, timeout=10)
        assert not busy.done()
        loaded = happenings.of("loaded")
        for task in (asked, busy):
            task.cancel()
        await asyncio.gather(asked, busy, return_exceptions=True)
        return loaded


async def test_an_idle_victim_leaves_while_the_busy_one_still_answers(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(FAST, (WIDE, ENDLESS_MODELS[0], LARGE))
    async with running_keepwarm(ollama.url) as keepwarm:
        await ask(keepwarm.url, "endless-a", options={"num_predict": 1})
        await ask(keepwarm.url, "wide")
        busy = asyncio.create_task(post(keepwarm.url, "/api/generate", endless("/api/generate", LONG_TOKENS)))

        async def is_busy() -> bool:
            return await keepwarm.metric("keepwarm_requests_in_flight") == 1

        await until(is_busy, 5, "the long answer is under way")
        happenings = Happenings(ollama)
        asked = asyncio.create_task(ask(keepwarm.url, "large"))

        async def wide_has_left() -> bool:
            return "wide" not in await resident(ollama)

        await until(wide_has_left, 5, "wide leaves")
        assert not busy.done()
        assert (await busy).status == 200
        await asked
        assert happenings.all() == [("left", "wide"), ("left", "endless-a"), ("loaded", "large")]
