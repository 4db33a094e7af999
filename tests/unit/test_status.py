from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from proxy.domain.snapshot import EngineSnapshot, ResidentSnapshot
from proxy.status import saved_words, status_table

NOW = 1_800_000_000.0
GIB = 2**30


def resident(**changed: Any) -> ResidentSnapshot:
    values: dict[str, Any] = {
        "model": "llama3.1:8b",
        "bytes": 6 * GIB,
        "vram_bytes": 6 * GIB,
        "busy": 0,
        "expires_at": NOW + 2900,
        "kept_until": NOW + 2832,
        "keep_alive": 2832,
        "ttl_seconds": 2832.0,
        "uses_per_hour": 31.04,
        "load_seconds": 6.24,
        "loss_seconds": 1.0,
        "worth": 0.0123,
        "pinned": False,
        "reason": "kept 47m12s: asked for often",
    }
    return ResidentSnapshot(**{**values, **changed})


def state(*residents: ResidentSnapshot, **changed: Any) -> dict[str, Any]:
    """What `/state` says, as plain values."""
    values: dict[str, Any] = {
        "at": NOW,
        "budget_bytes": 24 * GIB,
        "budget_source": "set in memory.budget",
        "max_models": 3,
        "used_bytes": sum(each.vram_bytes for each in residents),
        "headroom_bytes": None,
        "price": 0.005,
        "settle_seconds": 0.5,
        "upstream_known": True,
        "waiting": 0,
        "longest_wait_seconds": 0.0,
        "in_flight": 0,
        "operation": None,
        "residents": residents,
        "models": (),
    }
    return dataclasses.asdict(EngineSnapshot(**{**values, **changed}))


def row(**changed: Any) -> dict[str, str]:
    """The one line of a table, by its heads."""
    _, head, line = status_table(state(resident(**changed))).splitlines()
    starts = [match.start() for match in re.finditer(r"\S+", head)]
    cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
    return dict(zip(head.split(), cells, strict=True))


def test_a_resident_is_one_line_that_says_what_it_is_how_long_it_stays_and_why() -> None:
    assert row() == {
        "MODEL": "llama3.1:8b",
        "SIZE": "6GiB",
        "NOW": "idle",
        "KEPT": "47m12s",
        "USES/H": "31.0",
        "LOAD": "6.2 s",
        "WORTH": "12ms/GiB·h",
        "WHY": "kept 47m12s: asked for often",
    }


def test_columns_stand_one_below_the_other_whatever_is_in_them() -> None:
    residents = [
        resident(model="a", bytes=GIB, vram_bytes=GIB, busy=12, uses_per_hour=12345.6, reason="x"),
        resident(model="registry.example/somebody/a-very-long-name:70b-instruct", kept_until=None, worth=None),
        resident(bytes=10 * GIB, vram_bytes=7 * GIB, load_seconds=None),
    ]
    _, head, *lines = status_table(state(*residents)).splitlines()
    assert len(lines) == 3
    for match in re.finditer(r"\S+", head):
        column = match.start()
        for line in lines:
            assert column == 0 or line[column - 2 : column] in ("  ", ""), f"{match[0]}: {line!r}"
    assert all(line == line.rstrip() for line in [head, *lines])


@pytest.mark.parametrize(
    ("changed", "column", "cell"),
    [
        ({"busy": 3}, "NOW", "busy (3)"),
        ({"kept_until": None}, "KEPT", "for ever"),
        ({"kept_until": NOW + 0.4}, "KEPT", "0s"),
        ({"kept_until": NOW - 30}, "KEPT", "0s"),  # it is over, Ollama has not noticed yet
        ({"kept_until": NOW + 90}, "KEPT", "1m30s"),
        ({"kept_until": NOW + 2 * 86400}, "KEPT", "2d"),
        ({"bytes": 10 * GIB, "vram_bytes": 7 * GIB}, "SIZE", "10GiB (3GiB not on the GPU)"),
        ({"vram_bytes": 0}, "SIZE", "6GiB (6GiB not on the GPU)"),
        ({"bytes": 7 * GIB, "vram_bytes": 8 * GIB}, "SIZE", "7GiB"),  # Ollama's own rounding
        ({"load_seconds": None}, "LOAD", ""),
        ({"worth": None}, "WORTH", ""),
        ({"worth": 0.0}, "WORTH", "0s/GiB·h"),
        ({"worth": 3600.0}, "WORTH", "1h/GiB·h"),
        ({"uses_per_hour": 0.0}, "USES/H", "0.0"),
        ({"reason": ""}, "WHY", ""),
    ],
)
def test_each_cell_says_it_in_words_for_people(changed: dict[str, Any], column: str, cell: str) -> None:
    assert row(**changed)[column] == cell


def test_the_line_above_tells_the_memory_and_where_the_budget_comes_from() -> None:
    assert status_table(state(resident())).splitlines()[0] == "6GiB of 24GiB used (set in memory.budget)"


def test_an_unknown_budget_is_called_unknown() -> None:
    source = "not known yet: nothing has spilled so far"
    line = status_table(state(resident(), budget_bytes=None, budget_source=source)).splitlines()[0]
    assert line == f"6GiB of an unknown budget used ({source})"


def test_without_residents_there_is_only_the_head() -> None:
    lines = status_table(state()).splitlines()
    assert lines[0].startswith("0B of 24GiB used")
    assert lines[1].split()[0] == "MODEL"
    assert len(lines) == 2


def test_who_waits_and_what_is_under_way_is_told() -> None:
    line = status_table(state(waiting=2, operation="settling: llama3.1:8b leaves")).splitlines()[0]
    assert line.endswith("; 2 waiting; settling: llama3.1:8b leaves")


def test_an_upstream_that_does_not_answer_is_told_loudly() -> None:
    line = status_table(state(upstream_known=False)).splitlines()[0]
    assert line.endswith("; Ollama does not answer, requests pass as they come")


def saved(waited: float, alone: float, days: int = 2) -> dict[str, Any]:
    """What `/state` says of waiting, of so many days up to Wednesday."""
    of_days = [{"day": f"2023-11-{15 - back:02}", "waited_seconds": 0.0, "alone_seconds": 0.0} for back in range(days)]
    return {"waited_seconds": waited, "alone_seconds": alone, "seconds": alone - waited, "days": of_days[::-1]}


ALONE = "with Ollama's default it would have been"


@pytest.mark.parametrize(
    ("said", "days", "words"),
    [
        ((2460, 7800), 3, f"Since Monday you waited 41 min for models; {ALONE} 2 h 10 min."),
        ((7.4, 71), 1, f"Today you waited 7 s for models; {ALONE} 1 min."),
        ((0, 3600), 7, f"Since Thursday you waited 0 s for models; {ALONE} 1 h."),
        ((59.7, 3569), 7, f"Since Thursday you waited 1 min for models; {ALONE} 59 min."),
        ((80, 82), 1, "Today you waited 1 min for models, as long as it would have been with Ollama's default."),
        ((120, 60), 6, f"Since Friday you waited 2 min for models; {ALONE} only 1 min."),
    ],
)
def test_waiting_is_said_in_a_sentence_whoever_did_better(said: tuple[float, float], days: int, words: str) -> None:
    assert saved_words(saved(*said, days=days)) == words


def test_a_whole_week_in_which_ollama_alone_did_better_is_said_as_plainly() -> None:
    words = "For a week now, Ollama alone would have done better: `keepwarm recommend` says what to change."
    assert saved_words(saved(120, 60, days=7)).endswith(f"{ALONE} only 1 min. {words}")


def test_the_sentence_stands_above_the_table_unless_nothing_is_compared() -> None:
    told = {**state(resident()), "saved": saved(60, 120)}
    assert status_table(told).splitlines()[1] == saved_words(told["saved"])
    assert status_table({**told, "saved": None}) == status_table(state(resident()))
