"""The calls by which the proxy manages an Ollama: what is resident, load, unload, touch, facts of a model."""

from __future__ import annotations

import asyncio
import math
import re
import time
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
from yarl import URL

from proxy.domain.model import ModelFacts, ObservedResident, RunnerOptions, canonical
from proxy.upstream.patience import LOAD_SECONDS, unload_pauses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

_ANSWER_SECONDS = 5.0
_LARGEST_ANSWER = 8 * 2**20
_FROM_LINE = re.compile(r"^FROM\s+(\S+)", re.MULTILINE)
_NUM_CTX_LINE = re.compile(r"^num_ctx\s+(\d+)", re.MULTILINE)


class UpstreamError(Exception):
    """The upstream could not be asked, or did not answer sensibly; the text names the call and the reason."""


def open_session(connect_seconds: float) -> aiohttp.ClientSession:
    """Open the connections that Ollama is managed through; clients' requests have a pool of their own (wire.py)."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=10),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        read_bufsize=2**16,
        max_line_size=2**16,
        max_field_size=2**16,
    )


class OllamaApi:
    """One Ollama server, as its manager sees it. Every method raises UpstreamError when it can't do its job."""

    def __init__(self, session: aiohttp.ClientSession, url: str, clock: Callable[[], float] = time.time) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._clock = clock

    async def residents(self) -> tuple[ObservedResident, ...]:
        """Return what `/api/ps` shows, its times by our own clock."""
        answer, headers = await self._exchange("GET", "/api/ps", None, _ANSWER_SECONDS)
        with _sensible("/api/ps"):
            skew = _skew_seconds(headers.get("Date"), self._clock())
            return tuple(_resident(line, skew) for line in answer["models"])

    async def facts(self, model: str) -> ModelFacts | None:
        """Return what is known of a model before it is loaded; None: Ollama doesn't know it, or it runs elsewhere."""
        shown = await self._call("POST", "/api/show", {"model": model}, _ANSWER_SECONDS, missing=(400, 404))
        with _sensible("/api/show"):
            if shown is None or shown.get("remote_host"):
                return None
        tags = await self._call("GET", "/api/tags", seconds=_ANSWER_SECONDS)
        with _sensible("/api/show"):
            sizes = {canonical(line["name"]): line["size"] for line in tags["models"]}
            return _facts(model, shown, sizes.get(model, 0))

    async def load(self, model: str, options: RunnerOptions, keep_alive: int, *, embedding_only: bool) -> None:
        """Load the model, or change a resident one's keep_alive; returns when Ollama says it is loaded."""
        body: dict[str, Any] = {"model": model, "keep_alive": keep_alive, "options": dict(options.values)}
        if options.shift is not None:
            body["shift"] = options.shift
        if embedding_only:
            await self._call("POST", "/api/embed", {**body, "input": []}, LOAD_SECONDS)
        else:
            await self._call("POST", "/api/generate", {**body, "prompt": "", "stream": False}, LOAD_SECONDS)

    async def unload(self, model: str, patience_seconds: float) -> None:
        """Unload the model and wait until it left `/api/ps`."""
        deadline = asyncio.get_running_loop().time() + patience_seconds
        await self._call("POST", "/api/generate", {"model": model, "prompt": "", "keep_alive": 0}, _ANSWER_SECONDS)
        pauses = unload_pauses()
        while any(resident.model == model for resident in await self.residents()):
            if asyncio.get_running_loop().time() > deadline:
                msg = f"{model} is still in /api/ps {patience_seconds:.0f} s after it was unloaded"
                raise UpstreamError(msg)
            await asyncio.sleep(next(pauses))

    async def _call(
        self,
        method: str,
        path: str,
        body: Any = None,  # noqa: ANN401 - JSON
        seconds: float = _ANSWER_SECONDS,
        *,
        missing: tuple[int, ...] = (),
    ) -> Any:  # noqa: ANN401 - JSON
        answer, _ = await self._exchange(method, path, body, seconds, missing=missing)
        return answer

    async def _exchange(
        self,
        method: str,
        path: str,
        body: Any,  # noqa: ANN401 - JSON
        seconds: float,
        *,
        missing: tuple[int, ...] = (),
    ) -> tuple[Any, Mapping[str, str]]:
        async with (
            _reported(path),
            asyncio.timeout(seconds),
            self._session.request(
                method,
                URL(self._url + path, encoded=True),
                data=None if body is None else msgspec.json.encode(body),
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            ) as response,
        ):
            if response.status in missing:
                return None, response.headers
            content = await _read_bounded(response)
            if response.status != 200:  # noqa: PLR2004 - HTTP OK
                raise UpstreamError(f"{path} answered {response.status}: {content[:300].decode(errors='replace')}")
            return msgspec.json.decode(content), response.headers


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > _LARGEST_ANSWER:
            msg = f"{response.url.path} answered more than {_LARGEST_ANSWER >> 20} MiB"
            raise UpstreamError(msg)
    return b"".join(parts)


@asynccontextmanager
async def _reported(path: str) -> AsyncIterator[None]:
    try:
        yield
    except TimeoutError as error:
        msg = f"{path} did not answer in time"
        raise UpstreamError(msg) from error
    except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
        msg = f"{path}: {type(error).__name__}: {error}"
        raise UpstreamError(msg) from error


class _sensible:  # noqa: N801 - reads as a statement: with _sensible(path)
    """Turns what a well-formed answer without the expected fields causes into an UpstreamError."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError | OverflowError):
            msg = f"{self._path} answered something else than expected: {type(error).__name__}: {error}"
            raise UpstreamError(msg) from error


def _skew_seconds(date: str | None, now: float) -> float:
    """How far the upstream's clock is ahead of ours; 0 below 2 seconds, because Date tells only whole ones."""
    if date is None:
        return 0.0
    skew = parsedate_to_datetime(date).timestamp() + 0.5 - now
    return skew if abs(skew) > 2.0 else 0.0  # noqa: PLR2004 - see above


def _resident(line: dict[str, Any], skew_seconds: float) -> ObservedResident:
    return ObservedResident(
        model=canonical(line["name"]),
        bytes=int(line["size"]),
        vram_bytes=int(line["size_vram"]),
        context_length=int(line.get("context_length", 0)),
        expires_at=_unix_seconds(line["expires_at"]) - skew_seconds,
    )


def _unix_seconds(text: str) -> float:
    """Read Go's RFC 3339 with nanoseconds; a far future (keep_alive -1 is 292 years) counts as never."""
    moment = datetime.fromisoformat(re.sub(r"\.(\d{1,6})\d*", r".\1", text))
    return math.inf if moment.year > 2200 else moment.timestamp()  # noqa: PLR2004 - further than any timer


def _facts(model: str, shown: dict[str, Any], file_bytes: int) -> ModelFacts:
    info: dict[str, Any] = shown.get("model_info") or {}
    architecture = info.get("general.architecture", "")

    def number(key: str) -> int:
        value = info.get(f"{architecture}.{key}") or 0
        return int(max(value) if isinstance(value, list) else value)

    heads = number("attention.head_count")
    head_dim = number("attention.key_length") or (number("embedding_length") // heads if heads else 0)
    kv_heads = number("attention.head_count_kv") or heads
    source = _FROM_LINE.search(shown.get("modelfile") or "")
    num_ctx = _NUM_CTX_LINE.search(shown.get("parameters") or "")
    capabilities = shown.get("capabilities") or []
    return ModelFacts(
        model=model,
        weights=source.group(1) if source else model,
        file_bytes=file_bytes,
        kv_bytes_per_token=2 * number("block_count") * kv_heads * head_dim * 2,
        train_context=number("context_length"),
        default_num_ctx=int(num_ctx.group(1)) if num_ctx else None,
        embedding_only="embedding" in capabilities and "completion" not in capabilities,
    )
