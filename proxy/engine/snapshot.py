"""Shows the engine's state to people and gauges: one consistent picture of one moment. Changes nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from proxy.domain.snapshot import EngineSnapshot, ModelSnapshot, ResidentSnapshot
from proxy.engine import idle, waiting, worth

if TYPE_CHECKING:
    from proxy.engine.state import Resident, State

_GIB = 2**30
_HOUR_SECONDS = 3600.0


def snapshot(state: State, at: float) -> EngineSnapshot:
    """Return the state at this moment."""
    usable = state.budget.usable(state.settings)
    return EngineSnapshot(
        at=at,
        budget_bytes=usable,
        budget_source=state.budget.source(state.settings),
        max_models=state.budget.max_models(state.settings),
        used_bytes=state.used_bytes(),
        headroom_bytes=None if usable is None else usable - state.used_bytes(),
        price=state.settings.price_seconds_per_gib_hour,
        settle_seconds=state.settling.seconds,
        upstream_known=state.known,
        waiting=len(state.held),
        longest_wait_seconds=max((at - held.arrived_at for held in state.held.values()), default=0.0),
        in_flight=len(state.in_flight),
        operation=None if state.operation is None else f"{state.operation.stage}: {state.operation.reason}",
        residents=tuple(_resident(state, resident, at) for resident in state.residents.values()),
        models=tuple(_model(state, model, at) for model in state.usage.models),
        waits=waiting.waits(state),
        loading=waiting.loading(state, at),
    )


def explain(state: State, model: str, at: float) -> dict[str, Any] | None:
    """Return the numbers behind the last decisions about a model, as plain values; None: nothing is known of it."""
    if model not in state.usage and model not in state.residents:
        return None
    learnt, usage = state.learnt(model), state.usage
    resident = state.residents.get(model)
    return {
        "model": model,
        "now": _resident_line(state, resident, at) if resident else "not resident",
        "kept_because": learnt.kept_because() or None,
        "uses_per_hour": round(usage.rate_per_hour(model, at), 3),
        "idle_seconds": round(usage.idle_seconds(model, at), 1),
        "hazard_per_second": usage.hazard(model, usage.idle_seconds(model, at)),
        "horizon_seconds": round(usage.horizon_seconds, 1),
        "chance_of_use_within_horizon": round(usage.probability(model, at, usage.horizon_seconds), 4),
        "load_seconds": round(worth.load_seconds(state, model, at), 3),
        "load_seconds_learnt": _load_line(state, model, at),
        "loss_seconds": round(worth.loss(state, model, at).seconds, 4),
        "bytes": resident.bytes if resident else worth.likely_bytes(state, model),
        "contexts_asked_for": list(usage.contexts(model, at).num_ctx),
        "client_asked_keep_alive_seconds": learnt.asked_keep_alive,
        "decisions": [{"at": decision.at, "text": decision.text} for decision in learnt.decisions],
    }


def _load_line(state: State, model: str, at: float) -> str:
    warm = worth.page_cache_warm(state, model, at)
    source = "from the page cache" if warm else "from disk"
    own = state.usage.own_load_seconds(model, page_cache_warm=warm)
    origin = "by its size, never loaded yet" if own is None else "by its own loads"
    lines = [
        (where, state.usage.load_line(page_cache_warm=kind)) for where, kind in (("disk", False), ("page cache", True))
    ]
    speeds = [
        f"{where} {line.bytes_per_second / _GIB:.2f} GiB/s after {line.constant_seconds:.1f} s"
        for where, line in lines
        if line is not None
    ]
    return f"{source}, {origin}; all models: {', '.join(speeds) or 'nothing was loaded yet'}"


def _resident_line(state: State, resident: Resident, at: float) -> str:
    busy = f"busy with {len(resident.serving)}" if resident.serving else "idle"
    left = resident.expires_at - at
    until = "for ever" if math.isinf(left) else f"for {left:.0f} s more"
    free = resident.believed_bytes(state.budget.total(state.settings))
    believed = "unknown" if free is None else f"{free / _GIB:.1f} GiB"
    leaving = f", leaving ({resident.leaving})" if resident.leaving else ""
    pinned = ", pinned" if state.settings.rule_for(resident.model).pin else ""
    return f"resident, {busy}, {until}, Ollama believes {believed} to be free beside it{leaving}{pinned}"


def _resident(state: State, resident: Resident, at: float) -> ResidentSnapshot:
    model = resident.model
    load, _, loss = worth.loss(state, model, at)
    hazard = state.usage.hazard(model, state.usage.idle_seconds(model, at))
    gib = resident.vram_bytes / _GIB
    return ResidentSnapshot(
        model=model,
        bytes=resident.bytes,
        vram_bytes=resident.vram_bytes,
        busy=len(resident.serving),
        expires_at=_finite(resident.expires_at),
        keep_alive=resident.written,
        ttl_seconds=_finite(resident.ttl_seconds),
        uses_per_hour=state.usage.rate_per_hour(model, at),
        load_seconds=load,
        loss_seconds=loss,
        worth=hazard * load * _HOUR_SECONDS / gib if gib else None,
        pinned=state.settings.rule_for(model).pin,
        reason=state.learnt(model).kept_because(),
        leaving=resident.leaving,
        kept_until=_finite(idle.leaves_at(state, resident)),
    )


def _model(state: State, model: str, at: float) -> ModelSnapshot:
    return ModelSnapshot(
        model=model,
        bytes=worth.likely_bytes(state, model) or None,
        load_seconds=worth.load_seconds(state, model, at),
        uses_per_hour=state.usage.rate_per_hour(model, at),
        last_used_at=state.usage.last_used_at(model) if state.usage.rate_per_hour(model, at) else None,
    )


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
