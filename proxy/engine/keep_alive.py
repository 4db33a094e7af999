"""Which keep_alive a request is given: the model's own TTL, its rank among the residents, and what the client asked."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from proxy.domain.effects import KeepAlive, Touch
from proxy.domain.settings import ClientKeepAlive
from proxy.engine import worth
from proxy.policy import Kept, Stay, ranked_keep_alive

if TYPE_CHECKING:
    from proxy.domain.model import ModelRequest
    from proxy.domain.settings import EffectiveRule
    from proxy.engine.state import Resident, Running, State

_TOLERATED_RATIO = 0.1
_HOLDS_SECONDS = 10.0


def decide(state: State, model: str, at: float) -> int:
    """Return the keep_alive in seconds that the model is worth now: finite, in the order of the residents' losses.

    A decision holds for ten seconds, unless residents or settings change: a busy model need not be reckoned each time,
    nor for each of those who waited for it together.
    """
    learnt = state.learnt(model)
    just_now = learnt.decided_at == at and learnt.decided_after == state.changes
    if not just_now and not at - _HOLDS_SECONDS < learnt.decided_at > state.changed_at:
        learnt.decided, learnt.decided_at, learnt.decided_after = _reckon(state, model, at), at, state.changes
    return learnt.decided


def _reckon(state: State, model: str, at: float) -> int:
    rule = state.settings.rule_for(model)
    if rule.never_keep:
        state.learnt(model).kept_because = lambda: "unloaded after each use: never_keep"
        return 0
    ttl = state.policy.ttl(_stay(state, model, rule, at))
    resident = state.residents.get(model)
    if resident is not None:
        resident.ttl_seconds = ttl.seconds
    others = [_kept(state, r.model, r.ttl_seconds, at) for r in _ranked(state) if r.model != model]
    value = ranked_keep_alive([*others, _kept(state, model, ttl.seconds, at)])[model]
    learnt = state.learnt(model)
    learnt.kept_because = (lambda: "pinned: never evicted, its timer is wound up again") if rule.pin else ttl.why
    return value


def restore_order(state: State, at: float) -> None:
    """Touch the residents whose numbers contradict the order of their losses, by which Ollama's own evictor goes."""
    ranked = _ranked(state)
    values = ranked_keep_alive(_kept(state, r.model, r.ttl_seconds, at) for r in ranked)
    written = [r.written for r in sorted(ranked, key=lambda r: values[r.model])]
    if all(lesser is not None and more is not None and lesser < more for lesser, more in pairwise(written)):
        return
    for resident in ranked:
        if resident.runs is not None and resident.written != values[resident.model]:
            touch(state, resident, resident.runs, values[resident.model], at)


def for_request(state: State, request: ModelRequest, model: str, decided: int) -> int | KeepAlive:
    """Weigh what was decided against what the client asked for, as the settings say."""
    if not request.endpoint.carries_keep_alive:
        return KeepAlive.AS_IT_CAME
    rule = state.settings.rule_for(model)
    asked = request.keep_alive
    if asked is None or rule.client_keep_alive is ClientKeepAlive.IGNORE:
        return decided
    if rule.client_keep_alive is ClientKeepAlive.RESPECT:
        return KeepAlive.AS_IT_CAME
    longest = int(rule.max_seconds)
    seconds = longest if asked < 0 else min(longest, int(asked))
    return max(decided, seconds) if rule.client_keep_alive is ClientKeepAlive.AT_LEAST else min(decided, seconds)


def note_written(state: State, resident: Resident, value: int | KeepAlive, request: ModelRequest, at: float) -> None:
    """Remember what Ollama will know of the resident when it reads this request."""
    if isinstance(value, int):
        resident.written, state.last_write_at = value, at
    elif value is KeepAlive.AS_IT_CAME and request.keep_alive is not None and request.endpoint.carries_keep_alive:
        for_ever = request.keep_alive < 0
        resident.written, state.last_write_at = None if for_ever else int(request.keep_alive), at
        resident.ttl_seconds = math.inf if for_ever else request.keep_alive


def note_granted(resident: Resident, value: int | KeepAlive, decided: int) -> None:
    """A number that a client got its way with is the time that the model stays."""
    if isinstance(value, int) and value != decided:
        resident.ttl_seconds = value


def touch_if_outdated(state: State, resident: Resident, runs: Running, value: int, at: float) -> None:
    """Bring a resident's keep_alive up to date beside requests that can't carry it, unless it is near enough."""
    near = resident.written is not None and abs(value - resident.written) <= _TOLERATED_RATIO * max(value, 1)
    if not near and value > 0:  # a touch with 0 is an unload, and would overtake the request
        touch(state, resident, runs, value, at)


def touch(state: State, resident: Resident, runs: Running, value: int, at: float) -> None:
    """Give a resident this keep_alive. With other options than it runs with, `runs`, the touch would reload it."""
    resident.written, resident.touched_at, state.last_write_at = value, at, at
    state.touching.add(resident.model)
    facts = state.learnt(resident.model).facts
    embedding_only = facts is not None and facts.embedding_only
    state.emit(Touch(resident.model, runs.name, runs.options, embedding_only, value))


def _ranked(state: State) -> list[Resident]:
    """The residents that have a place in the order: not those that clients keep for ever, or that others loaded."""
    return [
        resident
        for resident in state.residents.values()
        if math.isfinite(resident.ttl_seconds) and not state.settings.rule_for(resident.model).never_keep
    ]


def _stay(state: State, model: str, rule: EffectiveRule, at: float) -> Stay:
    resident = state.residents.get(model)
    return Stay(
        hazards=state.usage.hazards(model),
        bytes=resident.vram_bytes if resident else worth.likely_bytes(state, model),
        load_seconds=worth.load_seconds(state, model, at) * worth.weight(state, model),
        price=state.settings.price_seconds_per_gib_hour,
        min_seconds=rule.min_seconds,
        max_seconds=rule.max_seconds,
        model=model,
        began=at,
        day_factors=state.usage.day_factors,
    )


def _kept(state: State, model: str, seconds: float, at: float) -> Kept:
    rule = state.settings.rule_for(model)
    return Kept(model, seconds, worth.loss(state, model, at).seconds, rule.max_seconds, rule.pin)
