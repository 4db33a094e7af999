"""Web pages of other sites: Ollama says whose requests it takes (OLLAMA_ORIGINS), and keepwarm does as Ollama does.

Whatever Ollama answers carries Ollama's own headers. This is for what keepwarm answers or does before Ollama sees the
request: no model is loaded for a page that Ollama refuses, and the pages of others can read why keepwarm refused them.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from cachetools import TTLCache

from proxy.server.refused import RefusedError
from proxy.upstream.wire_answer import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.upstream.wire import UpstreamPool

_KEPT_ORIGINS: Final = 256
_KEPT_SECONDS: Final = 10.0
_LONGEST_ORIGIN: Final = 1024
_ANSWER_SECONDS: Final = 5.0
_PREFLIGHT: Final = ("Access-Control-Request-Method", "POST")


class Origins:
    """Asks Ollama about origins, and remembers its answers for ten seconds."""

    def __init__(self, pool: UpstreamPool, patience_seconds: float = _ANSWER_SECONDS) -> None:
        """`patience_seconds`: how long Ollama may take to answer."""
        self._pool = pool
        self._patience_seconds = patience_seconds
        self._known: TTLCache[str, Mapping[str, str] | None] = TTLCache(_KEPT_ORIGINS, _KEPT_SECONDS)

    async def admit(self, origin: str) -> None:
        """Raise RefusedError if Ollama refuses this origin; return where it does not, or can't be asked."""
        if await self._asked(origin) is None:
            raise RefusedError(
                HTTPStatus.FORBIDDEN, "Ollama takes no requests from web pages of this origin (OLLAMA_ORIGINS)"
            )

    async def headers(self, origin: str) -> Mapping[str, str]:
        """Return the headers that let a page of this origin read an answer; none where Ollama would not let it."""
        return await self._asked(origin) or {}

    async def _asked(self, origin: str) -> Mapping[str, str] | None:
        if origin in self._known:
            return self._known[origin]
        if len(origin) > _LONGEST_ORIGIN:
            return None
        try:
            async with asyncio.timeout(self._patience_seconds):
                answer = await self._pool.exchange("OPTIONS", "/", [("Origin", origin), _PREFLIGHT], None)
        except (NoAnswerError, TimeoutError):
            return {}
        await answer.close()
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        headers = {} if allowed is None else {"Access-Control-Allow-Origin": allowed, "Vary": "Origin"}
        self._known[origin] = None if answer.status == HTTPStatus.FORBIDDEN else headers
        return self._known[origin]
