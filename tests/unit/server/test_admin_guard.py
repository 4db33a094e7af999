"""Who gets through to the admin port."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.server.admin_guard import guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "kw_token"
DIGEST = sha256(TOKEN.encode()).hexdigest()


@asynccontextmanager
async def admin(digest: str | None = None, *, needs_no_token: bool = True) -> AsyncIterator[TestClient[Any, Any]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="state")

    app = web.Application(middlewares=[guard(lambda: digest, needs_no_token=needs_no_token)])
    for path in ("/state", "/healthz", "/readyz", "/reload"):
        app.router.add_route("*", path, answer)
    async with TestClient(TestServer(app)) as client:
        yield client


async def status(client: TestClient[Any, Any], path: str = "/state", method: str = "GET", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.request(method, path, headers=named) as answer:
        assert (answer.status == 200) == (await answer.text() == "state")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        return int(answer.status)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_programs_on_this_machine_need_no_token_where_there_is_none() -> None:
    async with admin() as client:
        for host in ("127.0.0.1:11436", "localhost:1", "[::1]:1"):
            assert await status(client, Host=host) == 200
            assert await status(client, "/reload", "POST", Host=host) == 200


@pytest.mark.parametrize("path", ["/state", "/healthz", "/nowhere"])
async def test_a_rebound_name_reads_nothing(path: str) -> None:
    async with admin() as client:
        assert await status(client, path, Host="evil.example:11436") == 403


@pytest.mark.parametrize("needs_no_token", [True, False])
async def test_with_a_token_only_who_has_it_gets_in_by_whatever_name(*, needs_no_token: bool) -> None:
    async with admin(DIGEST, needs_no_token=needs_no_token) as client:
        for authorization in (f"Bearer {TOKEN}", f"bearer {TOKEN}", basic("", TOKEN), basic("anyone", TOKEN)):
            assert await status(client, Host="gpu.example", Authorization=authorization) == 200
        for wrong in (
            f"Bearer {DIGEST}",
            "Bearer",
            "Bearer ",
            TOKEN,
            basic(TOKEN, ""),
            "Basic !",
            "Basic",
            f"Token {TOKEN}",
        ):
            assert await status(client, Authorization=wrong) == 401
        assert await status(client) == 401
        assert await status(client, "/healthz") == await status(client, "/readyz") == 200


async def test_who_is_refused_hears_how_to_get_in() -> None:
    async with admin(DIGEST) as client, client.get("/state") as answer:
        assert answer.headers.getall("WWW-Authenticate") == ['Bearer realm="keepwarm"', 'Basic realm="keepwarm"']
        assert "KEEPWARM_ADMIN_TOKEN" in (await answer.json())["error"]


async def test_without_a_token_nobody_gets_in_where_one_is_needed() -> None:
    """The token was taken from the settings while keepwarm listens where it did; that ends with a restart."""
    async with admin(None, needs_no_token=False) as client:
        assert await status(client) == await status(client, Authorization="Bearer ") == 401


@pytest.mark.parametrize("digest", [None, DIGEST])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:3000"},
    ],
)
async def test_the_page_of_another_site_can_post_nothing(digest: str | None, headers: dict[str, str]) -> None:
    async with admin(digest) as client:
        own = {"Host": "127.0.0.1:11436", "Authorization": f"Bearer {TOKEN}"}
        assert await status(client, "/reload", "POST", **own, **headers) == 403
        assert await status(client, "/state", "GET", **own, **headers) == 200  # browsers keep the answer to themselves


@pytest.mark.parametrize("headers", [{"Sec_Fetch_Site": "same-origin"}, {"Origin": "http://127.0.0.1:11436"}, {}])
async def test_the_own_page_can_post(headers: dict[str, str]) -> None:
    async with admin() as client:
        assert await status(client, "/reload", "POST", Host="127.0.0.1:11436", **headers) == 200
