"""Ports that are listened on, and how they are given up. Knows nothing of what is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from proxy.server.connections import BoundedServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

    from proxy.server.client_port import ClientPort
    from proxy.settings import Address
    from proxy.settings.sections import Limits

_IDLE_CONNECTION_SECONDS = 3630.0
_CUT_SECONDS = 0.05
"""For what aiohttp itself does at the end: it waits for this twice, and for ever where it is 0."""


class ListenError(Exception):
    """A port can't be listened on; the text names the settings key, the address and the reason."""


def client_runner(
    port: ClientPort, limits: Callable[[], Limits], header_bytes: int, on_refusal: Callable[[int], None]
) -> web.ServerRunner:
    """Build the server of the client port: bodies as they come, handlers cancelled when their client leaves.

    Args:
        port: answers the requests.
        limits: how many connections there may be, and how long a client may pause in the middle of a request, now.
        header_bytes: longest request line, and longest header.
        on_refusal: told the status that a connection too many got.
    """
    server = BoundedServer(
        port.handle,
        lambda: limits().connections,
        on_refusal,
        pause_seconds=lambda: limits().pause,
        handler_cancellation=True,
        auto_decompress=False,
        access_log=None,
        keepalive_timeout=_IDLE_CONNECTION_SECONDS,
        max_line_size=header_bytes,
        max_field_size=header_bytes,
    )
    return web.ServerRunner(server, handle_signals=False, shutdown_timeout=_CUT_SECONDS)


async def listen(
    stack: AsyncExitStack,
    runner: web.BaseRunner,
    key: str,
    address: Address,
    drain: Callable[[], Awaitable[None]] | None = None,
    tls: ssl.SSLContext | None = None,
) -> str:
    """Listen until the stack is closed; then take no new connections, and let `drain` wait before the rest is cut."""
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    if drain is not None:
        stack.push_async_callback(drain)
    site = web.TCPSite(runner, address.host or None, address.port, ssl_context=tls)
    try:
        await site.start()
    except OSError as error:
        reason = error.strerror or error
        raise ListenError(f"{key}: keepwarm can't listen on {address}: {reason}. Is it running already?") from error
    stack.push_async_callback(site.stop)
    host, port = runner.addresses[0][:2]
    scheme = "http" if tls is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
