"""At most so many connections at once: one more hears that, and is closed. Knows nothing of what is served."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from proxy.server.answer import SERVER
from proxy.server.client_connection import ClientConnection, ClientServer
from proxy.server.refused import RETRY_SECONDS
from proxy.upstream.errors import error_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

_HEARING_SECONDS: Final = 1.0


class BoundedServer(ClientServer):
    """The clients' server, which by itself takes every connection."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        most: Callable[[], int],
        on_refusal: Callable[[int], None],
        **options: object,
    ) -> None:
        """Serve with aiohttp's own options.

        Args:
            handler: answers requests.
            most: how many connections there may be at once, >= 1.
            on_refusal: told the status that a connection too many got.
            options: see aiohttp's web_protocol.RequestHandler.
        """
        super().__init__(handler, **options)  # type: ignore[arg-type]  # aiohttp passes them on
        self._most = most
        self._on_refusal = on_refusal

    def __call__(self) -> ClientConnection:
        """Return what speaks on a new connection."""
        if len(self._connections) < self._most():
            return super().__call__()
        self._on_refusal(503)
        return _FullHouse()  # type: ignore[return-value]  # asyncio needs no more of it than this


class _FullHouse(asyncio.Protocol):
    """Answers the first bytes that come with 503, and waits no more than a second for them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._patience = asyncio.get_running_loop().call_later(_HEARING_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        target = data.split(b" ", 2)[1:2]
        path = target[0].decode("latin-1") if target else "/"
        body = error_body(path, 503, "keepwarm has as many connections as it may have (limits.connections)")
        head = (
            "HTTP/1.1 503 Service Unavailable",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"Retry-After: {RETRY_SECONDS}",
            "Connection: close",
            f"Server: {SERVER}",
        )
        self._transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._patience.cancel()
