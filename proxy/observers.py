"""Tells all who look on what happened and what the engine made of it. Never decides, and holds no request up.

They hear of it when the event loop has done what was due, of all that happened meanwhile together: that costs half of
one after the other, and nobody's answer waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from proxy.domain.events import ABOUT_RESIDENTS, Happening, PassthroughEnded, ResidentsObserved
from proxy.observe.access import log_access
from proxy.observe.decisions import DecisionLog
from proxy.observe.recent import RecentDecisions
from proxy.store.recorder import request_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.domain.effects import Effect
    from proxy.domain.timeline import Timelines
    from proxy.observe.metrics import Metrics
    from proxy.server.feed import Feed
    from proxy.sim.shadow.shadow import Shadow
    from proxy.store.usage import UsageStore


class Observers:
    """Metrics, logs, page, shadow and usage history.

    Attributes:
        recent: the last decisions.
    """

    def __init__(self, timelines: Timelines, metrics: Metrics, feed: Feed, shadow: Shadow, store: UsageStore) -> None:
        self.recent = RecentDecisions()
        self._timelines = timelines
        self._metrics = metrics
        self._feed = feed
        self._shadow = shadow
        self._store = store
        self._decisions = DecisionLog()
        self._untold: deque[tuple[Happening, Sequence[Effect]]] = deque()

    def observe(self, event: Happening, effects: Sequence[Effect]) -> None:
        """Take note of one event and its effects."""
        if not self._untold:
            asyncio.get_running_loop().call_soon(self.catch_up)
        self._untold.append((event, effects))

    def catch_up(self) -> None:
        """Tell what has not been told yet, for whoever wants to know all of it at once."""
        if self._untold:  # the page asks too, and painting it must not be news
            self._feed.changed()
        try:
            while self._untold:
                self._tell(*self._untold.popleft())
        finally:
            if self._untold:  # telling failed: that is for the loop to report, and no reason to tell nothing more
                asyncio.get_running_loop().call_soon(self.catch_up)

    def _tell(self, event: Happening, effects: Sequence[Effect]) -> None:
        if isinstance(event, PassthroughEnded):
            log_access(event, ())
            return
        finished = self._timelines.observe(event, effects)
        if finished:
            log_access(event, finished)
        self._metrics.observe(event, effects, finished)
        if effects or not finished:  # an answer that is over and changes nothing is none of their business
            self._decisions.observe(event, effects)
            self.recent.observe(event, effects)
        self._shadow.observe(event, finished)
        for request in finished:
            self._store.record(request_row(request))
        if isinstance(event, ABOUT_RESIDENTS):
            self._metrics.upstream_up(up=isinstance(event, ResidentsObserved))
