"""What happens to a client's request: read if it runs a model, admitted, relayed, counted. Never cached."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import unquote

import aiohttp
from aiohttp import web

from proxy.domain.effects import Forward, Outcome
from proxy.domain.events import Ending, PassthroughEnded, RequestEnded
from proxy.domain.model import Endpoint, runs_elsewhere
from proxy.server.client_connection import error_answer
from proxy.server.headers import told
from proxy.server.refusal import RefusedError, check_head, origin_form
from proxy.server.relay import ClientLeftError, Relay, UnusableBodyError, UpstreamBrokeError, UpstreamUnreachableError
from proxy.upstream.body import ModelBody
from proxy.upstream.figures import AnswerTail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.observe.metrics import Metrics
    from proxy.observe.tracing import Tracing
    from proxy.server.dispatcher import Dispatcher
    from proxy.upstream.catalogue import Catalogue

_ENDPOINTS = {endpoint.value: endpoint for endpoint in Endpoint}
_CHANGES_MODELS = frozenset({"/api/pull", "/api/create", "/api/copy", "/api/delete"})
_THREAD_BYTES = 2**20
_CLIENT_CLOSED_REQUEST = 499
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ClientPort:
    """Answers every request that comes in at the client port."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        relay: Relay,
        catalogue: Catalogue,
        metrics: Metrics,
        json_limit: Callable[[], int],
        tells: Callable[[], bool],
        tracing: Tracing | None,
    ) -> None:
        self._dispatcher = dispatcher
        self._relay = relay
        self._catalogue = catalogue
        self._metrics = metrics
        self._json_limit = json_limit
        self._tells = tells
        self._tracing = tracing
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Relay the request; a model request waits until the engine admits it."""
        self._active += 1
        self._idle.clear()
        try:
            return await self._handle(request)
        except RefusedError as error:
            self._note_passed(request, request.raw_path, error.status, Ending.ANSWERED, self._dispatcher.now())
            return error_answer(request.raw_path, error.status, str(error))
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Wait until no request is being handled, `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        check_head(request)
        path = origin_form(request.raw_path).partition("?")[0]
        if "%" in path:
            path = unquote(path)
        endpoint = _ENDPOINTS.get(path) if request.method == "POST" else None
        if endpoint is None:
            _continue_if_expected(request)
            return await self._pass(request, path, None)
        content = await _read(request, self._json_limit())
        arrived_at = self._dispatcher.now()
        try:
            body = await _parse(endpoint, content)
        except ValueError:
            return await self._pass(request, path, content)
        if runs_elsewhere(body.request.model):
            return await self._pass(request, path, content)
        return await self._run(request, body, arrived_at)

    async def _pass(self, request: web.BaseRequest, path: str, content: bytes | None) -> web.StreamResponse:
        """Relay a request that runs no model here."""
        watch = _Passing()
        ending, status, began = Ending.CLIENT_GONE, 0, self._dispatcher.now()
        self._metrics.passthrough_started()
        try:
            response, ending = await self._exchange(request, path, content, watch)
            status = response.status
        finally:
            if path in _CHANGES_MODELS or path.startswith("/api/blobs/"):
                self._catalogue.forget()
            self._metrics.passthrough_ended(path, ending)
            self._note_passed(request, path, status, ending, began)
        return response

    def _note_passed(self, request: web.BaseRequest, path: str, status: int, ending: Ending, began: float) -> None:
        now = self._dispatcher.now()
        self._dispatcher.note(PassthroughEnded(now, request.method, path, status, ending, now - began))

    async def _run(self, request: web.BaseRequest, body: ModelBody, arrived_at: float) -> web.StreamResponse:
        """Relay a request that runs a model, once it is admitted."""
        facts = await self._catalogue.facts(body.request.model) if self._dispatcher.manages else None
        request_id = self._dispatcher.next_id()
        watch = _Answering(self._dispatcher.now)
        ending, status = Ending.CLIENT_GONE, 0
        if self._tracing is not None:
            self._tracing.begin(request_id, arrived_at, request.headers)
        try:
            forward = await self._dispatcher.admit(request_id, body.request, facts)
            self._count_overhead(forward, arrived_at)
            if self._tracing is not None:
                watch.to_upstream = self._tracing.headers(request_id)
            if self._tells():
                watch.to_client = told(forward, self._dispatcher.now() - arrived_at)
            content = body.with_keep_alive(forward.keep_alive)
            response, ending = await self._exchange(request, body.request.endpoint.value, content, watch)
            status = response.status
        finally:
            if ending is Ending.CLIENT_GONE and watch.tail.complete():
                ending, status = Ending.ANSWERED, watch.status
            figures = watch.tail.figures()
            now = self._dispatcher.now()
            self._dispatcher.post(RequestEnded(now, request_id, ending, status, figures, watch.started_at))
        return response

    async def _exchange(
        self, request: web.BaseRequest, path: str, content: bytes | None, watch: _Passing
    ) -> tuple[web.StreamResponse, Ending]:
        try:
            return await self._relay.exchange(request, content, watch), Ending.ANSWERED
        except UpstreamUnreachableError as error:
            return error_answer(path, HTTPStatus.BAD_GATEWAY, str(error), watch.to_client), Ending.UPSTREAM_ERROR
        except UnusableBodyError as error:
            return error_answer(path, error.status, str(error)), Ending.CLIENT_GONE
        except UpstreamBrokeError:
            return web.Response(status=HTTPStatus.BAD_GATEWAY), Ending.UPSTREAM_ERROR  # the connection is gone
        except ClientLeftError:
            return web.Response(status=_CLIENT_CLOSED_REQUEST), Ending.CLIENT_GONE

    def _count_overhead(self, forward: Forward, arrived_at: float) -> None:
        if forward.outcome is not Outcome.COLD:
            self._metrics.overhead(self._dispatcher.now() - arrived_at)


class _Passing:
    """Watches an answer of which nothing is to be known."""

    to_upstream: Mapping[str, str] = _NO_HEADERS
    to_client: Mapping[str, str] = _NO_HEADERS

    def started(self, status: int) -> None:
        """See the status."""

    def chunk(self, content: bytes) -> None:
        """See a chunk."""


class _Answering(_Passing):
    """Watches a model's answer: when it starts, and what its end tells."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.tail = AnswerTail()
        self.status = 0
        self.started_at: float | None = None
        self._now = now

    def started(self, status: int) -> None:
        """Remember the status."""
        self.status = status

    def chunk(self, content: bytes) -> None:
        """Note when the first chunk came, keep the last ones."""
        if self.started_at is None:
            self.started_at = self._now()
        self.tail.add(content)


def _continue_if_expected(request: web.BaseRequest) -> None:
    if "Expect" in request.headers and request.version >= aiohttp.HttpVersion11 and not _has_begun(request.content):
        transport = request.transport
        if transport is not None:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _has_begun(body: aiohttp.StreamReader) -> bool:
    return body.is_eof() or body.total_bytes > 0


async def _read(request: web.BaseRequest, limit: int) -> bytes:
    too_large = f"the JSON body is larger than {limit} bytes, keepwarm's limits.json_body"
    if (request.content_length or 0) > limit:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
    _continue_if_expected(request)
    if request.content.is_eof() and request.content_length is not None:  # it came with the head, as short ones do
        return request.content.read_nowait()
    parts, size = [], 0
    try:
        async for chunk in request.content.iter_any():
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
    except web.RequestPayloadError as error:
        unusable = UnusableBodyError(error)
        raise RefusedError(unusable.status, str(unusable)) from error
    return b"".join(parts)


async def _parse(endpoint: Endpoint, content: bytes) -> ModelBody:
    """Read the body; a large one in a thread, so that nobody else waits for it."""
    if len(content) < _THREAD_BYTES:
        return ModelBody(endpoint, content)
    return await asyncio.to_thread(ModelBody, endpoint, content)
