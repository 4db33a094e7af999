"""Answers to requests that need a model: waiting for it, then token by token or a vector; knows no API's own shape."""

from __future__ import annotations

import asyncio
import hashlib
import math
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from proxy.sim.ask import ApiError, Ask, Piece, Timings, runner_options
from proxy.sim.machine import LoadFailedError, QueueFullError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.sim.ask import Api, Dialect
    from proxy.sim.catalog import Entry
    from proxy.sim.machine import Turn
    from proxy.sim.site import Site

_WORDS = (
    " The",
    " proxy",
    " keeps",
    " the",
    " right",
    " models",
    " in",
    " memory",
    ",",
    " and",
    " nobody",
    " waits",
    ".",
)
_NO_EMBEDDINGS = "This server does not support embeddings. Start it with `--embeddings`"


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of a request, and what making them took."""

    vectors: list[list[float]]
    timings: Timings


@dataclass(frozen=True, slots=True)
class _Generation:
    """One answer in the making; times are virtual seconds."""

    site: Site
    ask: Ask
    arrived_at: float
    granted_at: float
    started_at: float
    length: int
    done_reason: str

    def token_at(self, index: int) -> float:
        """When token `index` is there."""
        return self.started_at + self._prompt_seconds + (index + 1) / self.site.options.tokens_per_second

    async def pieces(self) -> AsyncIterator[Piece]:
        """Each token as it comes, then the end."""
        for index in range(self.length):
            await self.site.machine.clock.sleep_until(self.token_at(index))
            yield Piece(self.ask.model, _WORDS[index % len(_WORDS)])
        yield Piece(self.ask.model, "", self.done_reason, self._timings())

    async def whole(self) -> Piece:
        """The answer when it is complete."""
        await self.site.machine.clock.sleep_until(self.token_at(self.length - 1))
        text = "".join(_WORDS[index % len(_WORDS)] for index in range(self.length))
        return Piece(self.ask.model, text, self.done_reason, self._timings())

    @property
    def _prompt_seconds(self) -> float:
        return self.ask.prompt_tokens / self.site.options.prompt_tokens_per_second

    def _timings(self) -> Timings:
        return Timings(
            total_seconds=self.site.machine.clock.now() - self.arrived_at,
            load_seconds=self.granted_at - self.arrived_at + 1e-6,
            prompt_tokens=self.ask.prompt_tokens,
            prompt_seconds=self._prompt_seconds,
            tokens=self.length,
            eval_seconds=self.length / self.site.options.tokens_per_second,
        )


async def answer(site: Site, api: Api, http: web.Request) -> web.StreamResponse:
    """Answers a request for text, in the shape of its API."""
    arrived_at = site.machine.clock.now()
    try:
        ask, dialect = api.read(await http.read())
        return await _reply(site, http, ask, dialect, arrived_at)
    except ApiError as error:
        body = {"error": error.message} if error.plain else api.error(error)
        return web.json_response(body, status=error.status)


async def embed(site: Site, ask: Ask) -> Embedded:
    """Embeds the texts of a request; none means that the model is only loaded.

    Raises:
        ApiError: The name is wrong, the queue full, or the model one that only chats.
    """
    arrived_at = site.machine.clock.now()
    entry = site.find(ask)
    async with _turn(site, entry, ask) as (turn, granted_at):
        if ask.texts and not entry.model.embedding:
            raise ApiError(501 if ask.verb == "embed" else 500, _NO_EMBEDDINGS)
        if ask.texts:
            await turn.started()
        clock = site.machine.clock
        seconds = ask.prompt_tokens / site.options.prompt_tokens_per_second
        await clock.sleep_until(clock.now() + seconds)
        length = min(ask.dimensions or entry.embedding_length, entry.embedding_length)
        vectors = [_vector(text, length) for text in ask.texts]
        total = clock.now() - arrived_at
        timings = Timings(total, granted_at - arrived_at + 1e-6, ask.prompt_tokens, seconds, 0, 0)
        return Embedded(vectors, timings)


async def _reply(site: Site, http: web.Request, ask: Ask, dialect: Dialect, arrived_at: float) -> web.StreamResponse:
    entry = site.find(ask)
    if not ask.texts and ask.keep_alive_seconds == 0:
        return _unload(site, entry, ask, dialect)
    if entry.model.embedding:
        raise ApiError(400, f'"{ask.model}" does not support {ask.verb}')
    async with _turn(site, entry, ask) as (turn, granted_at):
        if not ask.texts:
            return web.json_response(dialect.whole(Piece(ask.model, "", "load")))
        length, reason = entry.model.answer_tokens or site.options.answer_tokens, "stop"
        if 0 < ask.num_predict < length:
            length, reason = ask.num_predict, "length"
        generation = _Generation(site, ask, arrived_at, granted_at, await turn.started(), length, reason)
        if ask.stream:
            return await _stream(generation, dialect, http)
        return web.json_response(dialect.whole(await generation.whole()))


def _unload(site: Site, entry: Entry, ask: Ask, dialect: Dialect) -> web.Response:
    if site.faults.refuse_unload:
        raise ApiError(500, "unload refused")
    if not site.faults.ignore_unload:
        site.machine.unload(entry.spec)
    return web.json_response(dialect.whole(Piece(ask.model, "", "unload")))


async def _stream(generation: _Generation, dialect: Dialect, http: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": dialect.content_type})
    written = 0
    async for piece in generation.pieces():
        if not response.prepared:
            await response.prepare(http)
        for chunk in dialect.chunks(piece):
            await response.write(chunk)
            written += 1
            if written == generation.site.faults.break_stream_after_chunks and http.transport is not None:
                http.transport.abort()
                return response
    return response


@asynccontextmanager
async def _turn(site: Site, entry: Entry, ask: Ask) -> AsyncIterator[tuple[Turn, float]]:
    if site.faults.hang:
        await asyncio.Event().wait()
    options = runner_options(ask, entry.model.num_ctx)
    try:
        async with site.machine.turn(entry.spec, ask.keep_alive_seconds, options) as turn:
            yield turn
    except QueueFullError:
        raise ApiError(503, "server busy, please try again.  maximum pending requests exceeded") from None
    except LoadFailedError:
        raise ApiError(500, "llama-server process has terminated: exit status 1") from None


def _vector(text: str, length: int) -> list[float]:
    """A unit vector that depends on the text alone."""
    raw = hashlib.shake_128(text.encode()).digest(length)
    values = [byte - 127.5 for byte in raw]
    norm = math.sqrt(sum(value * value for value in values))
    return [value / norm for value in values]
