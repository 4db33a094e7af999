"""What is asked of Ollama about an origin, how often, and what holds when it does not answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.server.origins import Origins
from proxy.server.refused import RefusedError
from proxy.upstream.wire_answer import NoAnswerError

ALLOWED = {"Access-Control-Allow-Origin": "http://a.example", "Vary": "Origin"}


@dataclass
class Answer:
    """What Ollama says to a preflight."""

    status: int
    headers: dict[str, str]
    closed: int = 0

    async def close(self) -> None:
        self.closed += 1


@dataclass
class Pool:
    """A way to an Ollama that answers this, or not at all."""

    answer: Answer | Exception | None
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def exchange(self, *request: Any) -> Answer:
        self.asked.append(request)
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer


def origins(answer: Answer | Exception | None) -> tuple[Origins, Pool]:
    pool: Any = Pool(answer)
    return Origins(pool, patience_seconds=0.01), pool


async def test_an_origin_that_ollama_allows_is_asked_about_once_as_a_browser_would() -> None:
    answer = Answer(204, {**ALLOWED, "Access-Control-Allow-Methods": "GET"})
    asking, pool = origins(answer)
    await asking.admit("http://a.example")
    assert await asking.headers("http://a.example") == ALLOWED
    preflight = [("Origin", "http://a.example"), ("Access-Control-Request-Method", "POST")]
    assert (pool.asked, answer.closed) == ([("OPTIONS", "/", preflight, None)], 1)


async def test_an_origin_that_ollama_refuses_is_refused_and_reads_nothing() -> None:
    asking, pool = origins(Answer(403, {}))
    for _ in range(2):
        with pytest.raises(RefusedError):
            await asking.admit("http://evil.example")
    assert (await asking.headers("http://evil.example"), len(pool.asked)) == ({}, 1)


@pytest.mark.parametrize("answer", [NoAnswerError("gone"), None])
async def test_where_ollama_does_not_answer_nobody_is_refused_or_kept_waiting_and_it_is_asked_again(
    answer: Exception | None,
) -> None:
    asking, pool = origins(answer)
    await asking.admit("http://a.example")
    assert (await asking.headers("http://a.example"), len(pool.asked)) == ({}, 2)


@pytest.mark.parametrize("status", [200, 204, 404, 405])
async def test_what_knows_no_preflights_refuses_nobody(status: int) -> None:
    asking, _ = origins(Answer(status, {}))
    await asking.admit("http://a.example")
    assert await asking.headers("http://a.example") == {}


async def test_an_origin_that_is_no_site_s_for_its_length_is_refused_unasked() -> None:
    asking, pool = origins(Answer(204, ALLOWED))
    with pytest.raises(RefusedError):
        await asking.admit("http://" + "a" * 1024)
    assert pool.asked == []


async def test_what_is_remembered_is_bounded() -> None:
    asking, pool = origins(Answer(204, ALLOWED))
    for number in range(300):
        await asking.admit(f"http://{number}.example")
    await asking.admit("http://299.example")
    await asking.admit("http://0.example")
    assert len(pool.asked) == 301
