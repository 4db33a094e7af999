"""What the engine knows at one moment; holds no decision and no rule, only the facts and simple questions to them."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from proxy.domain.effects import Cause, Effect, Outcome
    from proxy.domain.model import ModelFacts, ModelRequest, RunnerOptions
    from proxy.domain.settings import EngineSettings
    from proxy.engine.budget import Budget
    from proxy.engine.settling import Settling
    from proxy.policy import Policy, Room, UsageBook

MAX_MODELS = 1000
_MAX_DECISIONS = 20


class Running(NamedTuple):
    """What a runner was started with: the name that was asked for (its Modelfile counts) and the options."""

    name: str
    options: RunnerOptions


@dataclass(slots=True)
class Resident:
    """A model that is loaded.

    Attributes:
        model: key of the model, see Identities.
        shown: the name that `/api/ps` shows.
        runs: what it is known to run with; None: others loaded it, or Ollama may have reloaded it.
        others_bytes: what the others occupied when it was loaded, Ollama never looks again (OLLAMA.md 16); None:
            not known, others loaded it.
        written: keep_alive in seconds that we wrote last; None: none of ours.
        ttl_seconds: how long it is worth keeping after its last use.
        serving: ids of the requests in flight on it.
        leaving: why it is on its way out; its requests are held meanwhile.
        loaded_at: when a load of ours was over; -infinity: others loaded it.
        swap_seconds: how long that load took with all that had to leave for it.
    """

    model: str
    shown: str
    bytes: int
    vram_bytes: int
    last_used_at: float
    context_length: int = 0
    runs: Running | None = None
    others_bytes: int | None = None
    written: int | None = None
    ttl_seconds: float = math.inf
    expires_at: float = math.inf
    serving: dict[int, float] = field(default_factory=dict)
    leaving: Cause | None = None
    touched_at: float = -math.inf
    loaded_at: float = -math.inf
    swap_seconds: float = 0.0

    def believed_bytes(self, total: int | None) -> int | None:
        """What Ollama believes to be free when it asks this model, of `total` bytes; None: not known."""
        if total is None or self.others_bytes is None:
            return None
        return max(0, total - self.others_bytes - self.vram_bytes)

    @property
    def idle(self) -> bool:
        """No request is in flight on it."""
        return not self.serving


class Held(NamedTuple):
    """A request that waits for its model; `wants` is what that has to run with, by the request or the settings."""

    request_id: int
    model: str
    request: ModelRequest
    arrived_at: float
    wants: Running


class Reserved(NamedTuple):
    """Memory of models that left already for a request that waits for others as well; their sizes in bytes."""

    request_id: int
    sizes: tuple[int, ...]


class InFlight(NamedTuple):
    """A request that was forwarded, as it was sent on; model None: it is not managed."""

    model: str | None
    request: ModelRequest
    outcome: Outcome
    forwarded_at: float


class Stage(StrEnum):
    """Where an operation stands."""

    TOUCHING = "waiting for touches"
    UNLOADING = "unloading"
    SETTLING = "settling"
    LOADING = "loading"
    VERIFYING = "verifying"


@dataclass(slots=True)
class Operation:
    """The one thing that is being done about memory: making room, loading, or both.

    Attributes:
        loads: what to load when the victims are gone; None: only room is made.
        model: key of the model to load.
        victims: still to be unloaded, in this order.
        request_id: the request that it is done for; None: for none.
        others_bytes: what the residents occupied when the load began.
        freed_bytes: what the last victim occupied.
        began_at: when the first step of it was taken, unix seconds.
        planned_for: the settings and the residents by which its victims were chosen.
        abandoned: nobody waits for it any more; it is over when what was begun is reported.
    """

    stage: Stage
    cause: Cause
    reason: str
    model: str | None = None
    loads: Running | None = None
    victims: deque[str] = field(default_factory=deque)
    request_id: int | None = None
    keep_alive: int = 0
    loading_at: float = 0.0
    load_seconds: float = 0.0
    page_cache_warm: bool = False
    others_bytes: int = 0
    began_at: float = 0.0
    upstream_evicted: bool = False
    in_order: bool = False
    settled_at: float = -math.inf
    settle_before: Settling | None = None
    freed_bytes: int = 0
    repaired: bool = False
    abandoned: bool = False
    planned_for: tuple[EngineSettings, frozenset[str]] | None = None

    @property
    def load_under_way(self) -> bool:
        """Ollama may be evicting someone now: nothing with keep_alive may reach another model (OLLAMA.md 10, 19)."""
        return self.stage in (Stage.LOADING, Stage.VERIFYING)


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the explanation of a model."""

    at: float
    text: str


@dataclass(slots=True)
class Learnt:
    """What was learnt of a model beside its usage; the least recently used are forgotten.

    Attributes:
        wants: what it was asked for with last; None: never, or a client unloaded it since.
        warmed_at: when a warm-up of it was decided on that is not judged yet, unix seconds; None: none is.
        warmed: whether that was carried out; else it is judged as if.
        warm_ups: whether the last ones were used.
        kept_because: says why it has its keep_alive; nothing at first.
        decided: its keep_alive, decided at `decided_at`, after so many of the state's changes.
        answered_at: when its last answer was over, unix seconds.
        comes_back_soon: share of its requests that arrive right after an answer, lately; see `turn`.
        awaited_by: the last request that waited for it to leave, since its own last one.
        holds_up_seconds: how long the unload that follows its load would wait for Ollama's look at memory, lately.
        comes_back_awaited: how often it was asked for right after an answer while such a one waited, lately.
    """

    facts: ModelFacts | None = None
    bytes_by_num_ctx: dict[int | None, int] = field(default_factory=dict)
    automatic_context: int | None = None
    evicted_at: float = -math.inf
    left_at: float = -math.inf
    asked_keep_alive: float | None = None
    wants: Running | None = None
    warmed_at: float | None = None
    warmed: bool = False
    warm_ups: deque[bool] = field(default_factory=lambda: deque(maxlen=10))
    answered_at: float = -math.inf
    comes_back_soon: float = 0.5
    awaited_by: int | None = None
    comes_back_awaited: float = 1.0
    holds_up_seconds: float = 0.0
    kept_because: Callable[[], str] = str
    decided: int = 0
    decided_at: float = -math.inf
    decided_after: int = 0
    decisions: deque[Decision] = field(default_factory=lambda: deque(maxlen=_MAX_DECISIONS))


@dataclass(slots=True)
class State:
    """Everything the engine knows.

    `unsettled_bytes` is what was unloaded last: the driver may still count it as used (OLLAMA.md 18).
    """

    settings: EngineSettings
    policy: Policy
    usage: UsageBook
    budget: Budget
    settling: Settling
    known: bool = False
    unknown_reason: str = "the upstream was not asked yet"
    residents: dict[str, Resident] = field(default_factory=dict)
    held: dict[int, Held] = field(default_factory=dict)
    in_flight: dict[int, InFlight] = field(default_factory=dict)
    operation: Operation | None = None
    to_clear: OrderedDict[str, tuple[Cause, str]] = field(default_factory=OrderedDict)
    touching: set[str] = field(default_factory=set)
    draining: frozenset[str] = frozenset()
    reserved: Reserved | None = None
    admitted_at: float = -math.inf
    turn_ends_at: float = math.inf
    weighed: tuple[Hashable, float, Room] | None = None
    last_activity_at: float = -math.inf
    last_unload_at: float = -math.inf
    unsettled_bytes: int = 0
    last_write_at: float = -math.inf
    lone_swap: tuple[str, float] | None = None
    changed_at: float = -math.inf
    changes: int = 0
    out: list[Effect] = field(default_factory=list)
    _learnt: OrderedDict[str, Learnt] = field(default_factory=OrderedDict)

    def learnt(self, model: str) -> Learnt:
        """Return what was learnt of a model, empty at first."""
        known = self._learnt.get(model)
        if known is None:
            known = self._learnt[model] = Learnt()
            if len(self._learnt) > MAX_MODELS:
                self._learnt.popitem(last=False)
        else:
            self._learnt.move_to_end(model)
        return known

    def changed(self, at: float) -> None:
        """Take note that residents or settings are no longer what they were."""
        self.changed_at = at
        self.changes += 1

    def emit(self, *effects: Effect) -> None:
        """Add effects to what the current event causes."""
        self.out.extend(effects)

    def explain(self, model: str, at: float, text: str) -> None:
        """Note why something was decided about a model."""
        self.learnt(model).decisions.append(Decision(at, text))

    def in_flight_on(self, model: str) -> dict[int, float]:
        """Return the requests in flight on a model, and since when."""
        return {number: flight.forwarded_at for number, flight in self.in_flight.items() if flight.model == model}

    def used_bytes(self) -> int:
        """GPU memory that the residents occupy."""
        return sum(resident.vram_bytes for resident in self.residents.values())
