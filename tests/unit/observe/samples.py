"""Values that the tests of metrics and logs have in common."""

from proxy.domain.effects import Outcome
from proxy.domain.events import AnswerFigures, Ending, RequestArrived
from proxy.domain.model import Endpoint, ModelFacts, ModelRequest, RunnerOptions
from proxy.domain.snapshot import DayOfWaits, EngineSnapshot, ResidentSnapshot, SavedSnapshot, StoreSnapshot, Waits
from proxy.domain.timeline import FinishedRequest

NOW = 1_700_000_000.0
NO_FIGURES = AnswerFigures()
SAVED = SavedSnapshot(
    waited_seconds=2460.0,
    alone_seconds=7800.0,
    policy="ollama",
    since=NOW - 86_400,
    seconds=5340.0,
    since_start=Waits(60.0, 90.0),
    days=(DayOfWaits(2400.0, 7710.0, "2023-11-13"), DayOfWaits(60.0, 90.0, "2023-11-14")),
)
STORE = StoreSnapshot(up=True, pending_rows=3, dropped_rows=2)


def finished(
    model: str = "llama3:latest",
    outcome: Outcome = Outcome.WARM,
    *,
    ending: Ending = Ending.ANSWERED,
    status: int = 200,
    known: bool = True,
    figures: AnswerFigures = NO_FIGURES,
) -> FinishedRequest:
    return FinishedRequest(
        request_id=1,
        at=NOW,
        model=model,
        known=known,
        endpoint=Endpoint.CHAT,
        options=RunnerOptions(),
        outcome=outcome,
        ending=ending,
        status=status,
        wait_seconds=4.0,
        ttft_seconds=4.5,
        e2e_seconds=9.0,
        figures=figures,
    )


def arrived(model: str = "llama3:latest", keep_alive: float | None = None, *, known: bool = True) -> RequestArrived:
    request = ModelRequest(model, Endpoint.CHAT, keep_alive=keep_alive)
    return RequestArrived(NOW, 1, request, ModelFacts(model, "sha256:1", 4_000) if known else None)


def resident(
    model: str = "llama3:latest", *, expires_at: float | None = NOW + 90, keep_alive: int | None = 90
) -> ResidentSnapshot:
    return ResidentSnapshot(
        model=model,
        bytes=6_000,
        vram_bytes=5_000,
        busy=1,
        expires_at=expires_at,
        keep_alive=keep_alive,
        ttl_seconds=90.0,
        uses_per_hour=31.0,
        load_seconds=6.2,
        loss_seconds=1.1,
        worth=0.9,
        pinned=False,
        reason="used 31 times an hour",
    )


def engine(*residents: ResidentSnapshot, budget_bytes: int | None = 20_000) -> EngineSnapshot:
    return EngineSnapshot(
        at=NOW,
        budget_bytes=budget_bytes,
        budget_source="nvml",
        max_models=3,
        used_bytes=6_000,
        headroom_bytes=None if budget_bytes is None else budget_bytes - 6_000,
        price=0.005,
        settle_seconds=0.0,
        upstream_known=True,
        waiting=2,
        longest_wait_seconds=7.0,
        in_flight=3,
        operation=None,
        residents=residents,
        models=(),
    )
