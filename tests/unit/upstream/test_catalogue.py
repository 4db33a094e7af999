"""What is remembered of Ollama's models, and what is asked again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from proxy.domain.model import ObservedResident
from proxy.upstream.catalogue import Catalogue
from tests.unit.upstream.fake_ollama import FakeOllama, asking

SHOWN: dict[str, Any] = {"modelfile": "FROM /blobs/sha256-1", "model_info": {}}
TAGS: dict[str, Any] = {"models": [{"name": "a:latest", "size": 7}]}


@asynccontextmanager
async def catalogue(**answers: Any) -> AsyncIterator[tuple[Catalogue, FakeOllama]]:
    async with asking(**answers) as (api, fake):
        made = Catalogue(api)
        try:
            yield made, fake
        finally:
            await made.close()


def shows(fake: FakeOllama) -> int:
    return sum(path == "/api/show" for _, path, _ in fake.asked)


async def test_a_known_model_is_asked_for_once() -> None:
    async with catalogue(show=SHOWN, tags=TAGS) as (known, fake):
        first = await known.facts("a:latest")
        assert first is not None
        assert first.file_bytes == 7
        assert await known.facts("a:latest") is first
    assert shows(fake) == 1


async def test_those_who_ask_at_once_share_one_answer() -> None:
    async with catalogue(show=SHOWN, tags=TAGS) as (known, fake):
        answers = await asyncio.gather(*(known.facts("a:latest") for _ in range(20)))
        assert len(set(map(id, answers))) == 1
    assert shows(fake) == 1


async def test_one_who_leaves_does_not_take_the_answer_from_the_others() -> None:
    go_on = asyncio.Event()

    async def late(_: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.json_response(SHOWN)

    async with catalogue(show=late, tags=TAGS) as (known, fake):
        leaving, staying = (asyncio.create_task(known.facts("a:latest")) for _ in range(2))
        await fake.was_asked.wait()
        leaving.cancel()
        go_on.set()
        assert (await staying) is not None
        assert leaving.cancelled()
    assert shows(fake) == 1


async def test_a_model_that_ollama_does_not_know_is_asked_for_again() -> None:
    async with catalogue() as (known, fake):
        assert await known.facts("a:latest") is None
        fake.answers = {"/api/show": SHOWN, "/api/tags": TAGS}
        assert await known.facts("a:latest") is not None


@pytest.mark.parametrize("show", [b"garbage", b"[]", web.Response(status=500)])
async def test_an_ollama_that_cannot_tell_is_not_asked_again_for_some_seconds(show: Any) -> None:
    """Or each request would wait for the next failure."""
    async with catalogue(show=show) as (known, fake):
        assert await known.facts("a:latest") is None
        fake.answers = {"/api/show": SHOWN, "/api/tags": TAGS}
        assert await known.facts("a:latest") is None
        assert shows(fake) == 1
        known.forget()
        assert await known.facts("a:latest") is not None


async def test_after_a_change_to_the_models_everything_is_asked_again() -> None:
    async with catalogue(show=SHOWN, tags=TAGS) as (known, fake):
        await known.facts("a:latest")
        known.forget()
        await known.facts("a:latest")
    assert shows(fake) == 2


async def test_what_was_being_asked_when_everything_was_forgotten_is_not_remembered() -> None:
    go_on = asyncio.Event()

    async def late(_: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.json_response(SHOWN)

    async with catalogue(show=late, tags=TAGS) as (known, fake):
        asking_now = asyncio.create_task(known.facts("a:latest"))
        await fake.was_asked.wait()
        known.forget()  # the model was pulled anew meanwhile
        go_on.set()
        await asking_now
        fake.answers["/api/show"] = {**SHOWN, "modelfile": "FROM /blobs/sha256-2"}
        facts = await known.facts("a:latest")
        assert facts is not None
        assert facts.weights == "/blobs/sha256-2"


async def test_residents_get_their_weights_where_these_are_known() -> None:
    resident = ObservedResident("a:latest", 5, 5)
    async with catalogue(show=SHOWN, tags=TAGS) as (known, fake):
        [found] = await known.with_weights((resident,))
        assert found.weights == "/blobs/sha256-1"
        known.forget()
        fake.answers = {}
        assert await known.with_weights((resident,)) == (resident,)
        assert await known.with_weights(()) == ()


async def test_closing_ends_what_is_being_asked() -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with catalogue(show=never) as (known, fake):
        waiting = asyncio.create_task(known.facts("a:latest"))
        await fake.was_asked.wait()
        await known.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
