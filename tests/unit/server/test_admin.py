from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from proxy.domain.snapshot import EngineSnapshot, ResidentSnapshot, StoreSnapshot
from proxy.observe.metrics import Metrics
from proxy.server.admin import AdminSources, admin_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RESIDENT = ResidentSnapshot(
    model="llama3.1:8b",
    bytes=6,
    vram_bytes=5,
    busy=0,
    expires_at=None,
    keep_alive=None,
    ttl_seconds=None,
    uses_per_hour=1.0,
    load_seconds=None,
    loss_seconds=None,
    worth=None,
    pinned=True,
    reason="pinned",
)
ENGINE = EngineSnapshot(
    at=1_800_000_000.0,
    budget_bytes=None,
    budget_source="not known yet",
    max_models=3,
    used_bytes=5,
    headroom_bytes=None,
    price=0.005,
    settle_seconds=0.5,
    upstream_known=True,
    waiting=0,
    longest_wait_seconds=0.0,
    in_flight=0,
    operation=None,
    residents=(RESIDENT,),
    models=(),
)
STORE = StoreSnapshot(up=True, pending_rows=0, dropped_rows=0)


@dataclass
class Shown:
    """What the admin port shows."""

    engine: EngineSnapshot = ENGINE
    store: StoreSnapshot = STORE
    explanations: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=lambda: {"file": None, "error": None})
    problems: list[str] = field(default_factory=list)
    reloads: int = 0
    asked_for: list[str] = field(default_factory=list)

    def explain(self, model: str) -> dict[str, Any] | None:
        self.asked_for.append(model)
        return self.explanations.get(model)

    async def reload(self) -> list[str]:
        self.reloads += 1
        return self.problems


@asynccontextmanager
async def admin(shown: Shown) -> AsyncIterator[TestClient[Any, Any]]:
    sources = AdminSources(
        engine=lambda: shown.engine,
        store=lambda: shown.store,
        explain=shown.explain,
        settings=lambda: shown.settings,
        reload=shown.reload,
    )
    async with TestClient(TestServer(admin_app(sources, Metrics(200), "1.2.3"))) as client:
        yield client


async def test_the_state_is_json_and_none_stands_for_what_has_no_number() -> None:
    async with admin(Shown()) as client, client.get("/state") as answer:
        assert answer.content_type == "application/json"
        state = await answer.json()
    assert (state["version"], state["budget_bytes"], state["used_bytes"]) == ("1.2.3", None, 5)
    assert state["residents"][0]["expires_at"] is None
    assert state["store"] == {"up": True, "pending_rows": 0, "dropped_rows": 0}
    assert state["settings"] == {"file": None, "error": None}


async def test_the_state_is_that_of_the_moment() -> None:
    shown = Shown()
    async with admin(shown) as client:
        shown.engine = replace(ENGINE, waiting=7)
        async with client.get("/state") as answer:
            assert (await answer.json())["waiting"] == 7


async def test_it_is_healthy_whether_ollama_answers_or_not_but_ready_only_if_it_does() -> None:
    shown = Shown()
    async with admin(shown) as client:
        for known, ready in ((True, 200), (False, 503), (True, 200)):
            shown.engine = replace(ENGINE, upstream_known=known)
            async with client.get("/healthz") as healthy, client.get("/readyz") as answer:
                assert (healthy.status, answer.status) == (200, ready)
                assert known or "Ollama does not answer" in await answer.text()


async def test_metrics_are_in_the_format_of_prometheus() -> None:
    async with admin(Shown()) as client, client.get("/metrics") as answer:
        text = await answer.text()
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert "keepwarm_memory_used_bytes 5.0\n" in text


async def test_metrics_are_openmetrics_for_who_accepts_that() -> None:
    accepts = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}
    async with admin(Shown()) as client, client.get("/metrics", headers=accepts) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert (await answer.text()).endswith("# EOF\n")


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("llama3.1:8b", "llama3.1:8b"),
        ("llama3.1%3A8b", "llama3.1:8b"),
        ("Library/Llama3.1", "llama3.1:latest"),
        ("hf.co/bartowski/Qwen:Q4_K_M", "hf.co/bartowski/qwen:q4_k_m"),
        ("hf.co%2Fbartowski%2FQwen%3AQ4_K_M", "hf.co/bartowski/qwen:q4_k_m"),
    ],
)
async def test_a_model_is_explained_by_any_spelling_of_its_name(path: str, model: str) -> None:
    shown = Shown(explanations={model: {"model": model, "decisions": []}})
    async with admin(shown) as client, client.get(f"/models/{path}/explain") as answer:
        assert (answer.status, await answer.json()) == (200, {"model": model, "decisions": []})
    assert shown.asked_for == [model]


async def test_a_model_that_nothing_is_known_of_is_not_found_and_named() -> None:
    async with admin(Shown()) as client, client.get("/models/nobody/explain") as answer:
        assert answer.status == 404
        assert await answer.json() == {"error": "nothing is known of nobody:latest: no request has asked for it yet"}


async def test_a_reload_tells_all_problems_and_whether_it_was_done() -> None:
    shown = Shown()
    async with admin(shown) as client:
        async with client.post("/reload") as answer:
            assert (answer.status, await answer.json()) == (200, {"reloaded": True, "problems": []})
        shown.problems = ["keepwarm.yaml:1:1: a", "keepwarm.yaml:2:1: b"]
        async with client.post("/reload") as answer:
            assert (answer.status, await answer.json()) == (422, {"reloaded": False, "problems": shown.problems})
    assert shown.reloads == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/reload", 405), ("POST", "/state", 405), ("GET", "/api/tags", 404)],
)
async def test_there_is_nothing_else(method: str, path: str, status: int) -> None:
    shown = Shown()
    async with admin(shown) as client, client.request(method, path) as answer:
        assert answer.status == status
    assert not shown.reloads
