"""Those who look on hear of everything, in order, whatever becomes of one of them."""

import asyncio
from types import SimpleNamespace
from unittest.mock import Mock

from proxy.domain.events import Tick
from proxy.observers import Observers


def observers(shadow, feed=None):
    timelines = SimpleNamespace(observe=lambda *_: [])
    return Observers(timelines, Mock(), feed or Mock(), shadow, Mock())


async def test_an_observer_that_fails_once_loses_nothing_that_happened_after():
    reported, told = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def observe(event, _):
        told.append(event.at)
        if event.at == 2.0:
            raise ValueError("it failed")

    looking_on = observers(SimpleNamespace(observe=observe))
    for at in (1.0, 2.0, 3.0, 4.0):
        looking_on.observe(Tick(at), [])
    assert told == []  # not while a request is served
    for _ in range(5):
        await asyncio.sleep(0)
    assert told == [1.0, 2.0, 3.0, 4.0]
    assert [str(error) for error in reported] == ["it failed"]


async def test_who_wants_to_know_all_at_once_need_not_wait_for_the_next_turn_of_the_loop():
    told = []
    looking_on = observers(SimpleNamespace(observe=lambda event, _: told.append(event.at)))
    looking_on.observe(Tick(1.0), [])
    looking_on.catch_up()
    assert told == [1.0]
    await asyncio.sleep(0)
    assert told == [1.0]


async def test_the_page_is_told_once_of_all_that_happened_and_never_of_nothing():
    feed = Mock()
    looking_on = observers(Mock(), feed)
    looking_on.catch_up()
    feed.changed.assert_not_called()
    for at in (1.0, 2.0):
        looking_on.observe(Tick(at), [])
    looking_on.catch_up()
    feed.changed.assert_called_once_with()
