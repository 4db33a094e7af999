"""The files of the page, and what it is told."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.server.feed import Feed, Pace
from proxy.server.page import add_page, picture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STATIC = files("proxy.server").joinpath("static")


@asynccontextmanager
async def admin() -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application()
    add_page(app, Feed(lambda: b"{}", Pace()))
    async with TestClient(TestServer(app)) as client:
        yield client


def names() -> list[str]:
    return sorted(file.name for file in STATIC.iterdir())


async def test_every_file_is_served_as_what_it_is_under_a_strict_policy() -> None:
    kinds = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    async with admin() as client:
        for name in names():
            path = "/" if name == "index.html" else f"/page/{name}"
            async with client.get(path) as answer:
                assert (answer.status, answer.content_type) == (200, kinds[name.rpartition(".")[2]])
                assert await answer.read() == STATIC.joinpath(name).read_bytes()
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_nothing_else_of_the_package_is_served() -> None:
    async with admin() as client:
        for path in ("/page/", "/page/index.html", "/page/../page.py", "/page/%2e%2e/page.py", "/page/nothing.js"):
            async with client.get(path) as answer:
                assert answer.status == 404


def test_the_page_has_no_inline_script_or_style_and_asks_nobody_but_the_proxy() -> None:
    html = STATIC.joinpath("index.html").read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)
    everything = "".join(STATIC.joinpath(name).read_text() for name in names())
    assert re.findall(r"https?://[^\s\"']+", everything) == ["http://www.w3.org/2000/svg"]  # a name, not an address


def test_text_never_becomes_markup() -> None:
    scripts = "".join(STATIC.joinpath(name).read_text() for name in names() if name.endswith(".js"))
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|Function\(", scripts
    )


def test_the_page_is_told_the_state_with_the_speed_of_its_clock() -> None:
    told = json.loads(picture({"version": "1", "models": []}, 60.0))
    assert told == {"version": "1", "models": [], "models_known": 0, "speed": 60.0}


def test_of_very_many_models_the_page_is_told_the_most_used_ones_and_how_many_there_are() -> None:
    models = [{"model": f"m{number}", "uses_per_hour": float(number)} for number in range(1000)]
    told = json.loads(picture({"models": models}, 1.0))
    assert [model["model"] for model in told["models"]] == [f"m{number}" for number in range(999, 959, -1)]
    assert told["models_known"] == 1000
