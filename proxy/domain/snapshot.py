"""What the proxy looks like at one moment: for `/state`, `keepwarm status` and the gauges. Never decides anything.

Every number is finite and None stands for what has no number ("never", "unlimited", "not known"), so that
`dataclasses.asdict` gives valid JSON.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class ResidentSnapshot:
    """One resident model.

    Attributes:
        model: canonical name.
        bytes: memory of the whole model; `vram_bytes` of it are on the GPU.
        busy: requests that run on it now.
        expires_at: unix seconds; None: never.
        keep_alive: what Ollama was last told by us, in seconds; negative: for ever; None: nothing yet.
        ttl_seconds: how long the policy keeps it when idle; None: for ever.
        uses_per_hour: how often it is asked for, as the policy sees it.
        load_seconds: what loading it again will take; None: not known.
        loss_seconds: what its absence is expected to cost, in seconds of waiting; None: infinite, it is pinned.
        worth: seconds of waiting that keeping it saves per GiB·hour, to be compared with the price; None: not known.
        reason: the policy's own words for why it is kept.
        leaving: why it is on its way out; None: it is not.
        kept_until: when it leaves unless asked for, by our own TTL or Ollama's timer, unix seconds; None: never.
    """

    model: str
    bytes: int
    vram_bytes: int
    busy: int
    expires_at: float | None
    keep_alive: int | None
    ttl_seconds: float | None
    uses_per_hour: float
    load_seconds: float | None
    loss_seconds: float | None
    worth: float | None
    pinned: bool
    reason: str
    leaving: str | None = None
    kept_until: float | None = None

    def __post_init__(self) -> None:
        """Refuse what JSON cannot say."""
        _require_finite(self)


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """What is known of a model, resident or not.

    Attributes:
        bytes: memory it takes when loaded, seen or estimated; None: not known.
        load_seconds: what loading it takes; None: not known.
        uses_per_hour: how often it is asked for, as the policy sees it.
        last_used_at: unix seconds of its last request; None: never asked for.
    """

    model: str
    bytes: int | None
    load_seconds: float | None
    uses_per_hour: float
    last_used_at: float | None

    def __post_init__(self) -> None:
        """Refuse what JSON cannot say."""
        _require_finite(self)


@dataclass(frozen=True, slots=True)
class WaitSnapshot:
    """Requests that are held for one model.

    Attributes:
        model: canonical name.
        requests: how many wait, >= 1.
        since: when the oldest of them arrived, unix seconds.
        reason: what they wait for, for people.
    """

    model: str
    requests: int
    since: float
    reason: str

    def __post_init__(self) -> None:
        """Refuse what JSON cannot say."""
        _require_finite(self)


@dataclass(frozen=True, slots=True)
class LoadSnapshot:
    """The load that is under way.

    Attributes:
        model: canonical name.
        bytes: memory that it is expected to take; 0: not known.
        began_at: unix seconds.
        expected_seconds: how long it is likely to take.
    """

    model: str
    bytes: int
    began_at: float
    expected_seconds: float

    def __post_init__(self) -> None:
        """Refuse what JSON cannot say."""
        _require_finite(self)


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """The engine's state.

    Attributes:
        at: unix seconds of this moment.
        budget_bytes: memory that models may take; None: not known, it is being learnt.
        budget_source: where the budget comes from, for people.
        max_models: how many models Ollama keeps loaded at once, as set or by its own default.
        used_bytes: memory of all residents.
        headroom_bytes: what is free of the budget; negative: more is used than we allow; None: budget not known.
        price: seconds of waiting that one GiB·hour of idle memory is worth.
        settle_seconds: how long freed memory is waited for where it cannot be read.
        upstream_known: whether `/api/ps` answered last time; where not, requests pass as they come.
        waiting: model requests that are held.
        longest_wait_seconds: how long the oldest of them has been held; 0: none is.
        in_flight: model requests that were forwarded and are not over.
        operation: what the engine is doing now (a load, an unload, settling), for people; None: nothing.
        residents: resident models.
        models: every model that something is known of, residents too.
        waits: who waits for what, the longest wait first.
        loading: the load that is under way; None: there is none.
    """

    at: float
    budget_bytes: int | None
    budget_source: str
    max_models: int
    used_bytes: int
    headroom_bytes: int | None
    price: float
    settle_seconds: float
    upstream_known: bool
    waiting: int
    longest_wait_seconds: float
    in_flight: int
    operation: str | None
    residents: tuple[ResidentSnapshot, ...]
    models: tuple[ModelSnapshot, ...]
    waits: tuple[WaitSnapshot, ...] = ()
    loading: LoadSnapshot | None = None

    def __post_init__(self) -> None:
        """Refuse what JSON cannot say."""
        _require_finite(self)


@dataclass(frozen=True, slots=True)
class StoreSnapshot:
    """The state of the usage history.

    Attributes:
        up: whether the last write reached the database.
        pending_rows: rows that wait for the next write.
        dropped_rows: rows given up since the start because too many were waiting.
    """

    up: bool
    pending_rows: int
    dropped_rows: int


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds that people waited for models, and what they would have waited with Ollama alone: the same requests."""

    waited_seconds: float
    alone_seconds: float


@dataclass(frozen=True, slots=True)
class DayOfWaits(Waits):
    """The same for one day, '2026-11-22' by the clock of this machine."""

    day: str


@dataclass(frozen=True, slots=True)
class SavedSnapshot(Waits):
    """What keepwarm's decisions saved, next to Ollama's default; of `days`, where nothing else is said.

    Attributes:
        policy: whom keepwarm is compared with.
        since: when the first of these days began, or comparing did, unix seconds.
        seconds: waiting saved; negative: Ollama alone would have done better.
        since_start: since this process started.
        days: today and up to six days before, the oldest first.
    """

    policy: str
    since: float
    seconds: float
    since_start: Waits
    days: tuple[DayOfWaits, ...]


def _require_finite(snapshot: ResidentSnapshot | ModelSnapshot | WaitSnapshot | LoadSnapshot | EngineSnapshot) -> None:
    for field in fields(snapshot):
        value = getattr(snapshot, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name} must be finite, or None for what has no number, got {value}")
