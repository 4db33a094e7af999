"""What is to be done about it: the only output of the engine. Adapters carry effects out and report back as events."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from proxy.domain.model import RunnerOptions


class Outcome(StrEnum):
    """What a request met: its model resident, a load that it had to wait for, or no management at all."""

    WARM = "warm"
    COLD = "cold"
    PASSTHROUGH = "passthrough"


class Cause(StrEnum):
    """Why a model is loaded or leaves."""

    COLD = "cold"
    RELOAD = "reload"
    WARM_UP = "warm_up"
    SPILL = "spill"
    EVICTION = "eviction"
    ROOM_AHEAD = "room_ahead"
    EXPIRY = "expiry"
    CLIENT = "client"
    UPSTREAM = "upstream"


class KeepAlive(StrEnum):
    """What to do with the keep_alive of a body that is not given a number."""

    AS_IT_CAME = "as_it_came"
    WITHHELD = "withheld"


class Forward(NamedTuple):
    """Send the request on.

    `keep_alive` is a number of seconds to write, or how else to treat the body's own; `num_ctx` is a context length to
    write, None: the body's own stays.
    """

    request_id: int
    outcome: Outcome
    keep_alive: int | KeepAlive
    reason: str
    num_ctx: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """Load the model under this name with these runner options; report LoadEnded, then the residents.

    `request_id` is the request that it is done for; None: for none. It is the same in the other effects.
    """

    model: str
    name: str
    options: RunnerOptions
    embedding_only: bool
    keep_alive: int
    reason: str
    request_id: int | None = None


@dataclass(frozen=True, slots=True)
class Unload:
    """Unload the model, by the name that `/api/ps` shows, and wait until it left; report UnloadEnded."""

    model: str
    name: str
    cause: Cause
    reason: str
    request_id: int | None = None


@dataclass(frozen=True, slots=True)
class Touch:
    """Give a resident model this keep_alive by a native call beside its requests; report TouchEnded."""

    model: str
    name: str
    options: RunnerOptions
    embedding_only: bool
    keep_alive: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Wait until the GPU has `free_bytes` free, where that can be read, else `seconds`; report Settled."""

    free_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Observe:
    """Ask `/api/ps` now."""


class WakeAt(NamedTuple):
    """Send a Tick at this time; a later WakeAt replaces an earlier one."""

    at: float


# What the engine noticed: for metrics, logs and the history; nothing is to be done.


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load of ours succeeded."""

    model: str
    cause: Cause
    seconds: float
    bytes: int
    spilled_bytes: int
    request_id: int | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """A model is no longer resident."""

    model: str
    cause: Cause
    bytes: int


@dataclass(frozen=True, slots=True)
class WarmedUp:
    """What came of a load ahead of use: whether the model was asked for soon, while it was still there."""

    model: str
    used: bool


@dataclass(frozen=True, slots=True)
class Regretted:
    """A model was asked for again soon after its eviction."""

    model: str
    seconds_since: float


@dataclass(frozen=True, slots=True)
class ManagementFailed:
    """A load or unload of ours failed; the requests that needed it were forwarded as they came."""

    model: str
    what: str
    error: str
    request_id: int | None = None


Effect = (
    Forward
    | Load
    | Unload
    | Touch
    | Settle
    | Observe
    | WakeAt
    | Loaded
    | Left
    | WarmedUp
    | Regretted
    | ManagementFailed
)
