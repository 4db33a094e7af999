"""The least that a reverse proxy in Python can do, as the reference for what keepwarm adds: bare_relay.py UPSTREAM.

aiohttp's low-level server, one ClientSession, uvloop. Every request goes on as it came, and the answer streams back
chunk by chunk. Never reads a body, counts nothing, decides nothing, and handles no failure: not for use.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

import aiohttp
import uvloop
from aiohttp import web
from yarl import URL

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_OWN = frozenset({"host", "connection", "keep-alive", "transfer-encoding"})


def _handler(session: aiohttp.ClientSession, upstream: str) -> _Handler:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        async with session.request(
            request.method,
            URL(upstream + request.raw_path, encoded=True),
            headers=[(key, value) for key, value in request.headers.items() if key.lower() not in _OWN],
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as answer:
            headers = {key: value for key, value in answer.headers.items() if key.lower() not in _OWN}
            response = web.StreamResponse(status=answer.status, headers=headers)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    return handle


async def _serve(upstream: str) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    ) as session:
        runner = web.ServerRunner(
            web.Server(_handler(session, upstream), access_log=None, auto_decompress=False, handler_cancellation=True)
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)  # noqa: T201 - whoever started it reads it
        await stopped.wait()
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
