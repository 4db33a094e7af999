"""The endpoints of a simulated Ollama that need no runner: lists, /api/ps, names, blobs; loads nothing."""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from proxy.sim.ask import ApiError
from proxy.sim.gojson import BadBodyError, decode
from proxy.sim.names import parse_name
from proxy.sim.native import compact, plain_error
from proxy.sim.openai import openai_error
from proxy.sim.site import valid_name

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from proxy.sim.catalog import Entry
    from proxy.sim.site import Site

_NAMED: dict[str, type] = {"model": str, "name": str, "stream": bool, "from": str, "files": dict}
_COPY: dict[str, type] = {"source": str, "destination": str}
_DIGEST = re.compile(r"sha256[:-][0-9a-f]{64}")
_NO_REGISTRY = "pull model manifest: file does not exist"


class Library:
    """Handlers of one simulated Ollama.

    Args:
        site: What they work on.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._blobs: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        """Where they answer."""
        return [
            web.get("/", self.root),
            web.get("/api/version", self.version),
            web.get("/api/status", self.status, allow_head=False),
            web.get("/api/tags", self.tags),
            web.get("/api/ps", self.ps, allow_head=False),
            web.post("/api/show", _guarded(self.show)),
            web.post("/api/pull", _guarded(self.pull)),
            web.post("/api/copy", _guarded(self.copy)),
            web.post("/api/create", _guarded(self.create)),
            web.delete("/api/delete", _guarded(self.delete)),
            web.head("/api/blobs/{digest}", _guarded(self.has_blob)),
            web.post("/api/blobs/{digest}", _guarded(self.put_blob)),
            web.get("/v1/models", self.models, allow_head=False),
            web.get("/v1/models/{model:.+}", self.model, allow_head=False),
        ]

    async def root(self, _: web.Request) -> web.Response:
        """GET and HEAD /."""
        return web.Response(text="Ollama is running")

    async def version(self, _: web.Request) -> web.Response:
        """GET and HEAD /api/version."""
        return web.json_response({"version": self._site.options.version})

    async def status(self, _: web.Request) -> web.Response:
        """GET /api/status."""
        return web.json_response({"cloud": {"disabled": True, "source": "env"}})

    async def tags(self, _: web.Request) -> web.Response:
        """GET and HEAD /api/tags."""
        return web.json_response({"models": [entry.listing() for entry in self._site.catalog]})

    async def ps(self, _: web.Request) -> web.Response:
        """GET /api/ps."""
        faults = self._site.faults
        if faults.ps_delay_seconds:
            await asyncio.sleep(faults.ps_delay_seconds)
        if faults.ps_garbage:
            return web.Response(text='{"models":[{"name":', content_type="application/json")
        if faults.ps_status is not None:
            return web.json_response({"error": "fault"}, status=faults.ps_status)
        return web.json_response({"models": self._residents()})

    async def show(self, http: web.Request) -> web.Response:
        """POST /api/show."""
        fields = await _fields(http, "api.ShowRequest")
        raw = fields.get("model") or fields.get("name")
        if not raw:
            raise ApiError(400, "model is required")
        return web.json_response(self._entry(raw, shown=valid_name(raw).shortest).show())

    async def pull(self, http: web.Request) -> web.Response:
        """POST /api/pull: there is no registry, only what is here already."""
        fields = await _fields(http, "api.PullRequest")
        raw = fields.get("model") or fields.get("name") or ""
        found = self._site.catalog.find(valid_name(raw)) is not None
        end = {"status": "success"} if found else {"error": _NO_REGISTRY}
        if fields.get("stream", True):
            return _lines([{"status": "pulling manifest"}, end])
        return web.json_response(end, status=200 if found else 500)

    async def copy(self, http: web.Request) -> web.Response:
        """POST /api/copy."""
        fields = await _fields(http, "api.CopyRequest", _COPY)
        source, destination = fields.get("source", ""), fields.get("destination", "")
        entry = self._site.catalog.find(valid_name(source))
        if entry is None:
            raise ApiError(404, f'model "{source}" not found')
        self._site.catalog.copy(entry, valid_name(destination).shortest)
        return web.Response()

    async def create(self, http: web.Request) -> web.Response:
        """POST /api/create, from a model that is here."""
        fields = await _fields(http, "api.CreateRequest")
        name = valid_name(fields.get("model") or fields.get("name") or "")
        if not fields.get("from"):
            raise ApiError(400, "neither 'from' or 'files' was specified")
        entry = self._site.catalog.find(valid_name(fields["from"]))
        if entry is None:
            return _lines([{"status": "pulling manifest"}, {"error": _NO_REGISTRY}])
        self._site.catalog.copy(entry, name.shortest)
        layer = {"status": f"using existing layer sha256:{entry.spec.weights}"}
        return _lines([layer, {"status": "writing manifest"}, {"status": "success"}])

    async def delete(self, http: web.Request) -> web.Response:
        """DELETE /api/delete."""
        fields = await _fields(http, "api.DeleteRequest")
        raw = fields.get("model") or fields.get("name") or ""
        self._site.catalog.remove(self._entry(raw, shown=raw))
        return web.Response()

    async def has_blob(self, http: web.Request) -> web.Response:
        """HEAD /api/blobs/:digest."""
        if _digest(http) not in self._blobs:
            raise ApiError(404, f'blob "{_digest(http)}" not found')
        return web.Response()

    async def put_blob(self, http: web.Request) -> web.Response:
        """POST /api/blobs/:digest: reads it all and keeps only that it was here."""
        digest, hashed = _digest(http), hashlib.sha256()
        async for chunk in http.content.iter_any():
            hashed.update(chunk)
        got = f"sha256:{hashed.hexdigest()}"
        if got != digest:
            raise ApiError(400, f'digest mismatch, expected "{digest}", got "{got}"')
        self._blobs.add(digest)
        return web.Response(status=201)

    async def models(self, _: web.Request) -> web.Response:
        """GET /v1/models."""
        return web.json_response({"object": "list", "data": [_openai_model(entry) for entry in self._site.catalog]})

    async def model(self, http: web.Request) -> web.Response:
        """GET /v1/models/:model."""
        raw = http.match_info["model"]
        try:
            entry = self._entry(raw, shown=valid_name(raw).shortest)
        except ApiError as error:
            return web.json_response(openai_error(error), status=error.status)
        return web.json_response(_openai_model(entry) | {"id": raw})

    def _residents(self) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        lines = []
        for view, left_seconds in self._site.machine.residents():
            entry = self._site.catalog.find(parse_name(view.name))
            if entry is not None:
                lines.append(
                    {
                        "name": view.name,
                        "model": view.name,
                        "size": view.size_bytes,
                        "digest": entry.digest,
                        "details": entry.details(),
                        "expires_at": (now + timedelta(seconds=left_seconds)).isoformat(),
                        "size_vram": view.vram_bytes,
                        "context_length": view.context_length,
                    }
                )
        return lines

    def _entry(self, raw: str, shown: str) -> Entry:
        entry = self._site.catalog.find(valid_name(raw))
        if entry is None:
            raise ApiError(404, f"model '{shown}' not found")
        return entry


def _guarded(handler: Handler) -> Handler:
    async def guarded(http: web.Request) -> web.StreamResponse:
        try:
            return await handler(http)
        except ApiError as error:
            return web.json_response(plain_error(error), status=error.status)

    return guarded


async def _fields(http: web.Request, go_type: str, fields: dict[str, type] = _NAMED) -> dict[str, Any]:
    try:
        return decode(await http.read(), go_type, fields)
    except BadBodyError as error:
        raise ApiError(400, "missing request body" if str(error) == "EOF" else str(error)) from None


def _digest(http: web.Request) -> str:
    digest = http.match_info["digest"]
    if not _DIGEST.fullmatch(digest):
        raise ApiError(400, "invalid digest format")
    return digest.replace("-", ":")


def _lines(values: list[dict[str, Any]]) -> web.Response:
    body = b"".join(compact(value) + b"\n" for value in values)
    return web.Response(body=body, content_type="application/x-ndjson")


def _openai_model(entry: Entry) -> dict[str, Any]:
    return {"id": entry.name.shortest, "object": "model", "created": 1785542400, "owned_by": entry.name.namespace}
