"""The completed loop of Ollama's scheduler: ends of requests, expiries, unloads and the wait after each; loads nothing.

While it waits after an unload it counts no ends: a model that has just become idle still counts as busy.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from proxy.sim.outcomes import Kind
from proxy.sim.world import Event

if TYPE_CHECKING:
    from proxy.sim.resident import Resident
    from proxy.sim.world import World

_RECOVERY_LIMIT_SECONDS = 5.0
_TICK_SECONDS = 0.25
_FIRST_POLL_SECONDS = 0.4  # one tick, and the time that asking the driver takes


class Unloader:
    """The one who counts requests down and unloads."""

    __slots__ = ("_expired", "_finished", "_poll", "_recovering", "_world", "signals")

    def __init__(self, world: World) -> None:
        self.signals = 0
        """Unloads whose wait is over, and that nobody has taken note of yet."""
        self._world = world
        self._finished: deque[str] = deque()
        self._expired: deque[Resident] = deque()
        self._recovering = False
        self._poll = (0.0, 0, 0)  # since, free before, bytes of the victim

    def request_ended(self, weights: str) -> None:
        """A request that was counted on the model with these weights has ended."""
        self._finished.append(weights)
        self.run()

    def expire_when_idle(self, resident: Resident) -> None:
        """Takes the keep_alive from a model: it leaves as soon as no request is counted on it."""
        resident.deadline = inf
        resident.keep_alive_seconds = 0.0
        if resident.refs <= 0:
            self._expired.append(resident)
            self.run()

    def ring(self, weights: str) -> None:
        """An alarm goes off."""
        resident = self._world.loaded.get(weights)
        if resident is None or resident.alarm_at != self._world.now:
            return
        resident.alarm_at = inf
        if resident.deadline > self._world.now:
            self._set_alarm(resident)
            return
        resident.deadline = inf
        self._expired.append(resident)
        self.run()

    def _set_alarm(self, resident: Resident) -> None:
        if resident.deadline < resident.alarm_at:
            resident.alarm_at = resident.deadline
            self._world.at(resident.deadline, Event.ALARM, resident.spec.weights)

    def run(self) -> None:
        """Does all that can be done before the wait after an unload."""
        while not self._recovering:
            if self._finished:
                self._count_end(self._finished.popleft())
            elif self._expired:
                self._expire(self._expired.popleft())
            else:
                return

    def _count_end(self, weights: str) -> None:
        resident = self._world.loaded.get(weights)
        if resident is None:
            return
        resident.refs -= 1
        if resident.refs > 0:
            return
        if resident.keep_alive_seconds <= 0 or resident.drain:
            self._expired.append(resident)
        else:
            resident.expires_at = resident.deadline = self._world.now + resident.keep_alive_seconds
            self._set_alarm(resident)

    def _expire(self, resident: Resident) -> None:
        if self._world.loaded.get(resident.spec.weights) is not resident:
            return  # gone already, or another load of the same model
        if resident.refs > 0:
            resident.drain = True
            return
        self._unload(resident)

    def _unload(self, victim: Resident) -> None:
        asked = self._world.loaded.asked(self._world.rng)
        self._world.loaded.remove(victim)
        self._world.driver.release(self._world.now, victim.vram_bytes)
        self._world.tell(Kind.UNLOADED, victim.spec.name)
        if not victim.on_gpu:
            self.signals += 1
            return
        self._recovering = True
        before = asked[0].believed_free_bytes
        others = [resident for resident in asked if resident is not victim]
        if not others:
            self._poll = (self._world.now, before, victim.vram_bytes)
            self._world.after(_FIRST_POLL_SECONDS, Event.POLL)
        elif _has_recovered(before, others[0].believed_free_bytes, victim.vram_bytes):
            self._world.after(_TICK_SECONDS, Event.RECOVERED)
        else:
            self._world.after(_RECOVERY_LIMIT_SECONDS, Event.RECOVERED)

    def poll_driver(self) -> None:
        """Asks the driver whether the memory of the last model is free."""
        since, before, size = self._poll
        left = since + _RECOVERY_LIMIT_SECONDS - self._world.now
        if left <= 0 or _has_recovered(before, self._world.driver.free_bytes(self._world.now), size):
            self.recovered()
        else:
            self._world.after(min(_TICK_SECONDS, left), Event.POLL)

    def recovered(self) -> None:
        """The wait after an unload is over."""
        self._recovering = False
        self.signals += 1
        self.run()


def _has_recovered(before: int, now: int, size: int) -> bool:
    """Ollama subtracts without a sign: less memory than before counts as all of it recovered."""
    return now < before or now - before > size * 3 / 4
