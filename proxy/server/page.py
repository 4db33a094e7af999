"""The page at the admin port's `/`: its files, and the state that it shows, live. Changes nothing, asks no one else."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.server.feed import Feed

_MODELS: Final = 40
_FILES: Final = {
    "index.html": "text/html",
    "app.js": "text/javascript",
    "stream.js": "text/javascript",
    "view.js": "text/javascript",
    "words.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def add_page(app: web.Application, feed: Feed) -> None:
    """Add the page and the feed that it shows to the admin port; the feed is closed when the port is shut down."""

    async def close(_: web.Application) -> None:
        feed.close()

    app.on_shutdown.append(close)
    app.router.add_get("/events", feed.watch)
    for name, content_type in _FILES.items():
        path = "/" if name == "index.html" else f"/page/{name}"
        app.router.add_get(path, _file(name, content_type))


def _file(name: str, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    body = files("proxy.server").joinpath("static", name).read_bytes()

    async def get(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)

    return get


def picture(state: dict[str, Any], speed: float) -> bytes:
    """Return what `/state` tells as the page gets it: of very many models, only those that are used most.

    Args:
        state: what `/state` answers.
        speed: seconds that pass in it while one passes for who looks at it; other than 1 only in a simulation.
    """
    models = sorted(state["models"], key=lambda model: model["uses_per_hour"], reverse=True)
    return msgspec.json.encode({**state, "speed": speed, "models": models[:_MODELS], "models_known": len(models)})
