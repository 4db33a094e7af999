"""Requests that are over, as the tests of the shadow make them up, and an engine that knows what models take."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from proxy.domain.effects import Forward, KeepAlive, Outcome
from proxy.domain.events import AnswerFigures, Ending, RequestArrived, RequestEnded
from proxy.domain.model import Endpoint, ModelFacts, ModelRequest, RunnerOptions
from proxy.domain.settings import ClientKeepAlive, EngineSettings
from proxy.domain.timeline import FinishedRequest
from proxy.domain.units import GIB
from proxy.engine.engine import Engine
from proxy.policy import UsageBook
from proxy.sim.shadow.shadow import Shadow

if TYPE_CHECKING:
    from collections.abc import Iterable

NOON = 1_700_000_000.0
SETTINGS = EngineSettings(
    policy="adaptive",
    budget_bytes=24 * GIB,
    reserve_bytes=0,
    max_models=None,
    price_seconds_per_gib_hour=0.005,
    settle_seconds=0.5,
    poll_seconds=5.0,
    keep_alive_min_seconds=300.0,
    keep_alive_max_seconds=86400.0,
    client_keep_alive=ClientKeepAlive.IGNORE,
    max_wait_seconds=60.0,
)
FORWARD = Forward(1, Outcome.WARM, KeepAlive.AS_IT_CAME, "it is resident")
PLAIN = RunnerOptions()


def facts(model: str, size: int = 5 * GIB) -> ModelFacts:
    return ModelFacts(model, f"sha256:{model}", size)


def over(
    at: float,
    model: ModelFacts,
    *,
    service: float = 1.0,
    waited: float = 0.0,
    told: float | None = 0.0,
    outcome: Outcome = Outcome.WARM,
    options: RunnerOptions = PLAIN,
    **more: Any,
) -> FinishedRequest:
    """One that waited `waited` seconds with us and found that Ollama loaded for `told` seconds."""
    values: dict[str, Any] = {
        "request_id": round(at * 1000) % 10**9,
        "at": at,
        "model": model.model,
        "known": True,
        "endpoint": Endpoint.CHAT,
        "options": options,
        "outcome": outcome,
        "ending": Ending.ANSWERED,
        "status": 200,
        "wait_seconds": waited,
        "ttft_seconds": None,
        "e2e_seconds": waited + (told or 0.0) + service,
        "figures": AnswerFigures(load_seconds=told),
        "forward": FORWARD,
        "facts": model,
    }
    return FinishedRequest(**{**values, **more})


def engine_that_knows(models: Iterable[tuple[ModelFacts, float]]) -> Engine:
    """It saw each model loaded once, in so many seconds."""
    engine = Engine(SETTINGS, UsageBook())
    for number, (model, seconds) in enumerate(models):
        engine.handle(RequestArrived(0.0, number, ModelRequest(model.model, Endpoint.CHAT), model))
        engine.handle(RequestEnded(0.0, number, Ending.ANSWERED, 200))
        engine.state.usage.loaded(model.model, seconds, page_cache_warm=True, file_bytes=model.file_bytes)
    return engine


def shadow_of(engine: Engine) -> Shadow:
    return Shadow(engine, lambda: inf)


def tell(shadow: Shadow, requests: Iterable[FinishedRequest]) -> None:
    """Each is told when it is over."""
    for request in sorted(requests, key=lambda request: request.at + request.e2e_seconds):
        at = request.at + request.e2e_seconds
        shadow.observe(RequestEnded(at, request.request_id, request.ending), [request])
