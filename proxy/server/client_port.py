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

from proxy.domain.access import Group
from proxy.domain.effects import Forward, Outcome
from proxy.domain.events import Ending, PassthroughEnded, RequestEnded
from proxy.domain.model import Endpoint, runs_elsewhere
from proxy.server.client_connection import error_answer
from proxy.server.gate import require
from proxy.server.headers import told
from proxy.server.narrowed import check_names, listed
from proxy.server.refusal import check_head, origin_form
from proxy.server.refused import RefusedError
from proxy.server.relay import ClientLeftError, Relay, UnusableBodyError, UpstreamBrokeError, UpstreamUnreachableError
from proxy.upstream.body import ModelBody
from proxy.upstream.endpoints import is_list, names_in_body
from proxy.upstream.figures import AnswerTail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.observe.metrics import Metrics
    from proxy.observe.tracing import Tracing
    from proxy.server.dispatcher import Dispatcher
    from proxy.server.gate import Gate, Visit
    from proxy.server.origins import Origins
    from proxy.settings import Settings
    from proxy.upstream.catalogue import Catalogue

_ENDPOINTS = {endpoint.value: endpoint for endpoint in Endpoint}
_CHANGES_MODELS = frozenset({"/api/pull", "/api/create", "/api/copy", "/api/delete"})
_THREAD_BYTES = 2**20
_CLIENT_CLOSED_REQUEST = 499
_STREAMS = ("text/event-stream", "application/x-ndjson")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ClientPort:
    """Answers every request that comes in at the client port."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        relay: Relay,
        catalogue: Catalogue,
        metrics: Metrics,
        settings: Callable[[], Settings],
        gate: Gate,
        origins: Origins,
        tracing: Tracing | None,
    ) -> None:
        self._dispatcher = dispatcher
        self._relay = relay
        self._catalogue = catalogue
        self._metrics = metrics
        self._settings = settings
        self._gate = gate
        self._origins = origins
        self._tracing = tracing
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Relay the request; a model request waits until the engine admits it."""
        self._active += 1
        self._idle.clear()
        path = request.raw_path.partition("?")[0]
        try:
            check_head(request)
            path = origin_form(path)
            if "%" in path:
                path = unquote(path)
            visit = self._gate.visit(request, path)
            return await self._answer(request, path, visit)
        except RefusedError as refusal:
            self._metrics.refused(refusal.status)
            self._note_passed(request, path, refusal.status, Ending.ANSWERED, self._dispatcher.now())
            return await self._error(request, path, refusal.status, str(refusal), refusal.headers)
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Wait until no request is being handled, `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    async def _answer(self, request: web.BaseRequest, path: str, visit: Visit) -> web.StreamResponse:
        endpoint = _ENDPOINTS.get(path) if request.method == "POST" else None
        if endpoint is None:
            content = None
            if visit.client.models is not None:
                content = await _read(request, self._settings().limits.json_body) if names_in_body(path) else None
                check_names(visit.client, path, content)
            if content is None:
                _continue_if_expected(request)
            return await self._pass(request, path, content, visit)
        if "Origin" in request.headers and "origin" not in visit.dropped:
            await self._origins.admit(request.headers["Origin"])
        content = await _read(request, self._settings().limits.json_body)
        arrived_at = self._dispatcher.now()
        try:
            is_large = len(content) >= _THREAD_BYTES  # nobody else is to wait for it
            body = await asyncio.to_thread(ModelBody, endpoint, content) if is_large else ModelBody(endpoint, content)
        except ValueError as error:
            if visit.client.is_limited:
                raise RefusedError(HTTPStatus.BAD_REQUEST, f"keepwarm can't read the body: {error}") from error
            return await self._pass(request, path, content, visit)
        if visit.client.is_limited:
            require(visit.client, Group.UNLOAD if body.request.is_unload else Group.USE, body.request.model)
        if runs_elsewhere(body.request.model):
            return await self._pass(request, path, content, visit)
        return await self._run(request, path, body, arrived_at, visit)

    async def _pass(
        self, request: web.BaseRequest, path: str, content: bytes | None, visit: Visit
    ) -> web.StreamResponse:
        """Relay a request that runs no model here."""
        watch = _Passing()
        ending, status, began = Ending.CLIENT_GONE, 0, self._dispatcher.now()
        self._metrics.passthrough_started()
        try:
            response, ending = await self._exchange(request, path, content, watch, visit)
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

    async def _run(
        self, request: web.BaseRequest, path: str, body: ModelBody, arrived_at: float, visit: Visit
    ) -> web.StreamResponse:
        """Relay a request that runs a model, once it is admitted."""
        facts = await self._catalogue.facts(body.request.model) if self._dispatcher.manages else None
        request_id = self._dispatcher.next_id()
        watch = _Answering(self._dispatcher.now)
        ending, status = Ending.CLIENT_GONE, 0
        if self._tracing is not None:
            self._tracing.begin(request_id, arrived_at, request.headers)
        try:
            forward = await self._dispatcher.admit(request_id, body.request, facts, visit.client.name)
            self._count_overhead(forward, arrived_at)
            if self._tracing is not None:
                watch.to_upstream = self._tracing.headers(request_id)
            if self._settings().server.response_headers:
                watch.to_client = told(forward, self._dispatcher.now() - arrived_at)
            content = body.with_values(forward.keep_alive, forward.num_ctx)
            response, ending = await self._exchange(request, path, content, watch, visit)
            status = response.status
        except RefusedError as refusal:
            ending, status = Ending.ANSWERED, refusal.status
            raise
        finally:
            if ending is Ending.CLIENT_GONE and watch.tail.complete():
                ending, status = Ending.ANSWERED, watch.status
            elif ending is Ending.ANSWERED and watch.broke_off():
                ending = Ending.UPSTREAM_ERROR
            figures = watch.tail.figures()
            now = self._dispatcher.now()
            self._dispatcher.post(RequestEnded(now, request_id, ending, status, figures, watch.started_at))
        return response

    async def _exchange(
        self, request: web.BaseRequest, path: str, content: bytes | None, watch: _Passing, visit: Visit
    ) -> tuple[web.StreamResponse, Ending]:
        try:
            if visit.client.models is not None and is_list(path):
                return await listed(self._relay, request, path, visit), Ending.ANSWERED
            return await self._relay.exchange(request, content, watch, visit.dropped), Ending.ANSWERED
        except UpstreamUnreachableError as error:
            answer = await self._error(request, path, HTTPStatus.BAD_GATEWAY, str(error), watch.to_client)
            return answer, Ending.UPSTREAM_ERROR
        except UnusableBodyError as error:
            return await self._error(request, path, error.status, str(error)), Ending.CLIENT_GONE
        except UpstreamBrokeError:
            return web.Response(status=HTTPStatus.BAD_GATEWAY), Ending.UPSTREAM_ERROR  # the connection is gone
        except ClientLeftError:
            return web.Response(status=_CLIENT_CLOSED_REQUEST), Ending.CLIENT_GONE

    async def _error(
        self,
        request: web.BaseRequest,
        path: str,
        status: HTTPStatus,
        message: str,
        more: Mapping[str, str] = _NO_HEADERS,
    ) -> web.Response:
        """Answer instead of Ollama, so that web pages can read it whose requests Ollama takes."""
        origin = request.headers.get("Origin")
        readable = _NO_HEADERS if origin is None else await self._origins.headers(origin)
        return error_answer(path, status, message, {**more, **readable})

    def _count_overhead(self, forward: Forward, arrived_at: float) -> None:
        if forward.outcome is not Outcome.COLD:
            self._metrics.overhead(self._dispatcher.now() - arrived_at)


class _Passing:
    """Watches an answer of which nothing is to be known."""

    to_upstream: Mapping[str, str] = _NO_HEADERS
    to_client: Mapping[str, str] = _NO_HEADERS

    def started(self, status: int, headers: Mapping[str, str]) -> None:
        """See the status and the headers."""

    def chunk(self, content: bytes) -> None:
        """See a chunk."""


class _Answering(_Passing):
    """Watches a model's answer: when it starts, and what its end tells."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.tail = AnswerTail()
        self.status = 0
        self.started_at: float | None = None
        self._now = now
        self._is_stream = False

    def started(self, status: int, headers: Mapping[str, str]) -> None:
        """Remember the status, and whether the answer is a stream that can be read."""
        self.status = status
        self._is_stream = headers.get("Content-Type", "").startswith(_STREAMS) and "Content-Encoding" not in headers

    def chunk(self, content: bytes) -> None:
        """Note when the first chunk came, keep the last ones."""
        if self.started_at is None:
            self.started_at = self._now()
        self.tail.add(content)

    def broke_off(self) -> bool:
        """Tell whether a stream ended without saying that it is over, as Ollama's do when a model's runner dies."""
        return self._is_stream and self.status == HTTPStatus.OK and not self.tail.complete()


def _continue_if_expected(request: web.BaseRequest) -> None:
    if "Expect" in request.headers and request.version >= aiohttp.HttpVersion11 and not _has_begun(request.content):
        transport = request.transport
        if transport is not None:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _has_begun(body: aiohttp.StreamReader) -> bool:
    return body.is_eof() or body.total_bytes > 0


async def _read(request: web.BaseRequest, limit: int) -> bytes:
    too_large = f"the JSON body is larger than {limit} bytes, keepwarm's limits.json_body"
    length = request.content_length
    if (length or 0) > limit:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
    _continue_if_expected(request)
    if request.content.is_eof() and length is not None:  # it came with the head, as short ones do
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
