"""The table: what clients see of each fault in each phase. Each cell is a test; what makes no sense says why."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.faults import client_faults as client
from tests.faults import place_faults as place
from tests.faults import process_faults as process
from tests.faults import upstream_faults as up
from tests.faults.link import Kind
from tests.faults.scene import Phase
from tests.integration.raw_http import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.fault import Fault

WHOLE = "whole"
"""200, and the whole answer with the last line of its API."""
CUT = "cut"
"""200, and in mid-answer the connection breaks off: no client can take that for an end."""
DROPPED = "dropped"
"""The connection ends before an answer began."""
LEFT = "left"
"""The client itself went."""
ERROR = "502"
"""An error in the words of the API, as the statuses 408, 500 and 503 below are."""


@dataclass(frozen=True)
class Absent:
    """A cell that makes no sense, and why."""

    reason: str


@dataclass(frozen=True)
class Row:
    """A fault, and the outcome in each phase; several words: any of these, for each client."""

    fault: str
    make: Callable[[], Fault]
    cells: dict[Phase, str | Absent]


def _row(fault: str, make: Callable[[], Fault], *outcomes: str | Absent) -> Row:
    """One outcome for all phases, or one for each."""
    if len(outcomes) == 1:
        outcomes *= len(Phase)
    return Row(fault, make, dict(zip(Phase, outcomes, strict=True)))


def _in_flight(others: str | Absent, streaming: str | Absent) -> tuple[str | Absent, ...]:
    return (others, others, others, others, streaming)


def _misbehaves(misbehaviour: up.Misbehaviour) -> partial[Fault]:
    return partial(up.Misbehaves, misbehaviour)


HEAD_IS_OUT = Absent("its head came before the fault")
NO_LENGTH = Absent("a stream comes in chunks, it has no Content-Length")
NO_PHASE = Absent("a request has no phase before its last byte is there; slow senders meet no other's load or victim")
GARBAGE = b"\x16\x03\x01SSH-2.0 \xff\xff\r\n\r\n"
HALF_A_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: applic"
HUGE_HEAD = b"HTTP/1.1 200 OK\r\n" + (b"X-Padding: " + b"x" * 1000 + b"\r\n") * 10_000 + b"\r\n"
TOO_SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b'{"done":true}'
A_DAY = 86_400.0

UPSTREAM = (
    _row("Ollama does not listen", up.NotListening, *_in_flight(ERROR, CUT)),
    _row("accepts, says nothing, is killed", partial(up.Silent, 0.5, goes_on=False), ERROR, WHOLE, WHOLE, WHOLE, CUT),
    _row("stalls for 6 s, then goes on", partial(up.Silent, 6.0, goes_on=True), WHOLE),
    _row("resets", _misbehaves(up.Resets()), *_in_flight(ERROR, CUT)),
    _row("closes before it answers", _misbehaves(up.Says(b"")), *_in_flight(ERROR, HEAD_IS_OUT)),
    _row("closes within a chunked body", _misbehaves(up.ClosesInBody()), CUT),
    _row("closes before Content-Length", _misbehaves(up.Says(TOO_SHORT)), *_in_flight(CUT, NO_LENGTH)),
    _row("sends more than its answer", _misbehaves(up.SaysMore(b"HTTP/1.1 200 OK\r\n\r\nfor another")), WHOLE),
    _row("answers garbage", _misbehaves(up.Says(GARBAGE, GARBAGE)), *_in_flight(ERROR, CUT)),
    _row("answers half a head", _misbehaves(up.Says(HALF_A_HEAD)), *_in_flight(ERROR, HEAD_IS_OUT)),
    _row("answers 10 MB of head", _misbehaves(up.Says(HUGE_HEAD)), *_in_flight(ERROR, HEAD_IS_OUT)),
    _row("sends byte by byte", _misbehaves(up.Slow()), WHOLE),
    _row("500 to clients", _misbehaves(up.RefusesClients("500 Oops")), *_in_flight("500", HEAD_IS_OUT)),
    _row("503 to clients, queue full", _misbehaves(up.RefusesClients("503 Busy")), *_in_flight("503", HEAD_IS_OUT)),
    _row("500 to our management", _misbehaves(up.Refuses("500 Oops", *up.MANAGEMENT)), WHOLE),
    _row("503 to our loads and unloads", _misbehaves(up.Refuses("503 Busy", Kind.LOAD, Kind.UNLOAD)), WHOLE),
    _row("404 to our loads and unloads", _misbehaves(up.Refuses("404 Gone", *up.MANAGEMENT - {Kind.PS})), WHOLE),
    _row("restarts, has forgotten all models", up.Restarts, WHOLE, ERROR, ERROR, ERROR, CUT),
    _row("unloads behind our back", up.Unloads, WHOLE),
    _row("evicts behind our back", up.Evicts, WHOLE),
    _row("/api/ps shows nothing", _misbehaves(up.Shows(lambda _: [])), WHOLE),
    _row("/api/ps shows what is not there", _misbehaves(up.Shows(up.ghosts)), WHOLE),
    _row("/api/ps is garbage", partial(up.PsFault, ps_garbage=True), WHOLE),
    _row("/api/ps is slow", partial(up.PsFault, ps_delay_seconds=1.0), WHOLE),
    _row("/api/ps is 10 MB long", _misbehaves(up.Shows(up.huge)), WHOLE),
    _row("Ollama's clock is a day ahead", _misbehaves(up.Shows(up.expires(A_DAY), A_DAY)), WHOLE),
    _row("Ollama's clock is a day behind", _misbehaves(up.Shows(up.expires(-A_DAY), -A_DAY)), WHOLE),
    _row("expires_at is a day behind", _misbehaves(up.Shows(up.expires(-A_DAY))), WHOLE),
)
CLIENT = (
    _row("client closes", partial(client.Leaves, Wire.close), LEFT),
    _row("client resets", partial(client.Leaves, Wire.reset), LEFT),
    _row("client sends and is gone", partial(client.LeavesAtOnce, Wire.reset), LEFT, *(NO_PHASE,) * 4),
    _row("client reads byte by byte", client.ReadsSlowly, WHOLE),
    _row("client sends piece by piece", partial(client.SendsSlowly, to_the_end=True), WHOLE, *(NO_PHASE,) * 4),
    _row("client never sends its end", partial(client.SendsSlowly, to_the_end=False), "408", *(NO_PHASE,) * 4),
)
PLACE = (
    _row("settings file broken", partial(place.SettingsFault, place.break_it, "error"), WHOLE),
    _row("settings file removed", partial(place.SettingsFault, place.remove, "error"), WHOLE),
    _row("settings file replaced", partial(place.SettingsFault, place.tighten, "reloads_ok"), WHOLE),
    _row("settings file flaps", place.SettingsFlap, WHOLE),
    _row("usage history locked", place.HistoryLocked, WHOLE),
    _row("usage history corrupted", place.HistoryCorrupted, WHOLE),
    _row("usage history removed", place.HistoryRemoved, WHOLE),
    _row("wall clock jumps ahead a day", partial(place.ClockJumps, A_DAY), WHOLE),
    _row("wall clock jumps back a day", partial(place.ClockJumps, -A_DAY), WHOLE),
    _row("disk full", process.DiskFull, WHOLE),
    _row("disk read-only", process.ReadOnly, WHOLE),
    _row("no file descriptors left", process.NoDescriptors, *_in_flight(f"{WHOLE} {ERROR}", WHOLE)),
    _row("SIGTERM", partial(process.Signalled, signal.SIGTERM), WHOLE),
    _row("SIGINT", partial(process.Signalled, signal.SIGINT), WHOLE),
    _row("kill -9", partial(process.Signalled, signal.SIGKILL), *_in_flight(DROPPED, CUT)),
)
TABLE = (*UPSTREAM, *CLIENT, *PLACE)
