"""Work that goes on until a stack is closed: owned, cancelled, awaited. Knows nothing of what it does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextlib import AsyncExitStack

_log = logging.getLogger(__name__)


def in_background(stack: AsyncExitStack, *work: Coroutine[Any, Any, None]) -> None:
    """Run these until the stack is closed; whatever fails in one of them is raised there."""
    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(_log_failure)

    async def stop() -> None:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    stack.push_async_callback(stop)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.critical("a background task failed: this is a bug in keepwarm", exc_info=task.exception())
