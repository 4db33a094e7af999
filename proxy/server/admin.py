"""The admin port: metrics, health, state, explanations, reload. Changes nothing but the settings in force."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from proxy.domain.model import canonical

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.domain.snapshot import EngineSnapshot, SavedSnapshot, StoreSnapshot
    from proxy.observe.metrics import Metrics
    from proxy.observe.recent import RecentDecision


@dataclass(frozen=True, slots=True)
class AdminSources:
    """Where the admin port gets what it shows.

    Attributes:
        engine: the engine's state now.
        store: the usage history's state now.
        explain: the numbers behind the decisions about a model; None: nothing is known of it.
        settings: state of the settings file, as plain values.
        reload: read the settings again; returns the problems, empty if there are none.
        decisions: the last ones, the last one first.
        saved: what keepwarm saved next to Ollama's default; None: that is not reckoned.
    """

    engine: Callable[[], EngineSnapshot]
    store: Callable[[], StoreSnapshot]
    explain: Callable[[str], dict[str, Any] | None]
    settings: Callable[[], dict[str, Any]]
    reload: Callable[[], Awaitable[list[str]]]
    decisions: Callable[[], list[RecentDecision]] = list
    saved: Callable[[], SavedSnapshot | None] = lambda: None


def admin_app(sources: AdminSources, metrics: Metrics, version: str) -> web.Application:
    """Build the admin port's application."""

    async def get_metrics(request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        shown = sources.engine(), sources.store(), accept, sources.saved()
        body, content_type = await asyncio.to_thread(metrics.exposition, *shown)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def get_health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def get_ready(_: web.Request) -> web.Response:
        if sources.engine().upstream_known:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="Ollama does not answer /api/ps: requests pass as they come\n")

    async def get_state(_: web.Request) -> web.Response:
        return _json(state(sources, version))

    async def get_explanation(request: web.Request) -> web.Response:
        model = canonical(request.match_info["name"])
        explanation = sources.explain(model)
        if explanation is None:
            return _json({"error": f"nothing is known of {model}: no request has asked for it yet"}, 404)
        return _json(explanation)

    async def post_reload(_: web.Request) -> web.Response:
        problems = await sources.reload()
        return _json({"reloaded": not problems, "problems": problems}, 422 if problems else 200)

    app = web.Application()
    app.router.add_get("/metrics", get_metrics)
    app.router.add_get("/healthz", get_health)
    app.router.add_get("/readyz", get_ready)
    app.router.add_get("/state", get_state)
    app.router.add_get("/models/{name:.+}/explain", get_explanation)
    app.router.add_post("/reload", post_reload)
    return app


def state(sources: AdminSources, version: str) -> dict[str, Any]:
    """Return what `/state` answers, as plain values."""
    saved = sources.saved()
    return {
        "version": version,
        **dataclasses.asdict(sources.engine()),
        "saved": None if saved is None else dataclasses.asdict(saved),
        "store": dataclasses.asdict(sources.store()),
        "settings": sources.settings(),
        "decisions": [dataclasses.asdict(decision) for decision in sources.decisions()],
    }


def _json(value: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
