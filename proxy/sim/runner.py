"""Grants a loaded model to a request; its runner answers OLLAMA_NUM_PARALLEL of them at a time; ends nothing."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from proxy.sim.outcomes import Kind
from proxy.sim.resident import GONE, RUNNING, WAITING

if TYPE_CHECKING:
    from proxy.sim.resident import Request, Resident
    from proxy.sim.world import World


def grant(world: World, resident: Resident, request: Request) -> None:
    """Counts `request` on `resident`, stops its timer and takes over its keep_alive."""
    resident.refs += 1
    resident.deadline = inf
    if request.keep_alive_seconds is not None:
        resident.keep_alive_seconds = request.keep_alive_seconds
    if request.state == GONE:
        return  # it counts like any other; its end follows at once
    world.tell(Kind.GRANTED, request.spec.name, request.request_id)
    if resident.running < resident.parallel:
        _start(world, resident, request)
    else:
        request.state = WAITING
        resident.waiting.append(request)


def _start(world: World, resident: Resident, request: Request) -> None:
    resident.running += 1
    request.state = RUNNING
    world.tell(Kind.STARTED, request.spec.name, request.request_id)


def leave(world: World, request: Request, state: int) -> None:
    """Takes a request that was in `state` away from its runner, and lets the next one start."""
    resident = world.loaded.get(request.spec.weights)
    if resident is None:  # cannot be: it is counted on it
        raise RuntimeError(f"{request.spec.name} was unloaded under request {request.request_id}")
    if state == WAITING:
        resident.waiting.remove(request)
        return
    resident.running -= 1
    if resident.waiting:
        _start(world, resident, resident.waiting.popleft())
