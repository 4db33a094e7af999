"""Who watches is told the latest state, and no one else costs anything."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from proxy.server.feed import Feed, Pace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse

FAST = Pace(pause_seconds=0.02, heartbeat_seconds=60.0, watchers=3)


@dataclass
class Site:
    """A feed on a port, and how often it made a picture."""

    pace: Pace = FAST
    size: int = 1
    made: int = 0
    url: str = ""
    feed: Feed = field(init=False)
    session: ClientSession = field(init=False)
    server: TestServer = field(init=False)

    def picture(self) -> bytes:
        self.made += 1
        return b"%d" % self.made + b" " * self.size

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[ClientResponse]:
        async with self.session.get(self.url) as answer:
            yield answer


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[Site]:
    site.feed = Feed(site.picture, site.pace)
    app = web.Application()
    app.router.add_get("/events", site.feed.watch)
    async with asyncio.timeout(20), TestServer(app) as site.server, ClientSession() as site.session:
        site.url = str(site.server.make_url("/events"))
        yield site


async def event(answer: ClientResponse) -> str:
    lines = [(await answer.content.readline()).decode() for _ in range(2)]
    assert lines[1] == "\n"
    return lines[0].strip()


async def test_who_comes_gets_the_state_of_now_and_then_each_change() -> None:
    async with running(Site()) as site, site.watching() as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        assert await event(answer) == "data: 1"
        site.feed.changed()
        assert await event(answer) == "data: 2"


async def test_many_changes_at_once_are_one_picture_and_all_who_watch_share_it() -> None:
    async with running(Site()) as site, site.watching() as one, site.watching() as other:
        assert [await event(one), await event(other)] == ["data: 1", "data: 1"]
        for _ in range(1000):
            site.feed.changed()
        assert [await event(one), await event(other)] == ["data: 2", "data: 2"]
        await asyncio.sleep(5 * FAST.pause_seconds)
        assert site.made == 2


async def test_nothing_is_done_while_nobody_watches() -> None:
    async with running(Site()) as site:
        site.feed.changed()
        await asyncio.sleep(5 * FAST.pause_seconds)
        assert site.made == 0
        async with site.watching() as answer:
            await event(answer)
        site.feed.changed()  # who left is noticed with what is written next
        await asyncio.sleep(5 * FAST.pause_seconds)
        made = site.made
        for _ in range(5):
            site.feed.changed()
            await asyncio.sleep(2 * FAST.pause_seconds)
        assert site.made == made


async def test_who_comes_back_is_not_shown_the_state_of_then() -> None:
    async with running(Site()) as site:
        for _ in range(2):
            async with site.watching() as answer:
                shown = await event(answer)
            site.feed.changed()
            await asyncio.sleep(5 * FAST.pause_seconds)
        assert int(shown.removeprefix("data: ")) >= 2


async def test_one_too_many_is_told_so_and_gets_a_place_when_another_leaves() -> None:
    async with running(Site()) as site, site.watching() as one, site.watching() as two:
        await event(one)
        await event(two)
        async with site.watching() as three:
            await event(three)
            async with site.watching() as four:
                assert (four.status, four.headers["Retry-After"]) == (503, "10")
                assert await four.text() == "3 pages watch already, no more may\n"
        site.feed.changed()
        await event(one)
        site.feed.changed()
        await event(one)
        async with site.watching() as four:
            assert four.status == 200


async def test_where_nothing_changes_a_heartbeat_says_that_the_proxy_lives() -> None:
    async with running(Site(Pace(0.01, heartbeat_seconds=0.05))) as site, site.watching() as answer:
        assert await event(answer) == "data: 1"
        assert [await event(answer), await event(answer)] == [": nothing new", ": nothing new"]


async def test_who_reads_slowly_misses_what_lies_between_and_holds_nobody_up() -> None:
    big = 2**20
    async with running(Site(size=big)) as site:
        host, port = site.server.host, site.server.port
        reader, writer = await asyncio.open_connection(host, port, limit=2**16)
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        async with site.session.get(site.url, read_bufsize=4 * big) as brisk:
            seen = [await event(brisk)]
            for _ in range(30):
                site.feed.changed()
                seen.append(await event(brisk))
        assert seen == [f"data: {number}" for number in range(1, 32)]
        slow = []
        async with asyncio.timeout(10):
            while not slow or slow[-1] != 31:
                chunk = await reader.readuntil(b"data: ") and await reader.readuntil(b" ")
                slow.append(int(chunk))
                await _skip(reader, big - 1)
        assert len(slow) < 20, "it was sent what nobody needs any more"
        writer.close()


async def _skip(reader: asyncio.StreamReader, size: int) -> None:
    while size > 0:
        size -= len(await reader.read(min(size, 2**16)))


async def test_when_the_port_is_closed_every_answer_ends_and_no_other_begins() -> None:
    async with running(Site()) as site, site.watching() as answer:
        await event(answer)
        site.feed.close()
        assert await answer.content.read() == b""
        async with site.watching() as late:
            assert (late.status, await late.text()) == (503, "keepwarm is being stopped\n")
