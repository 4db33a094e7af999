"""The whole rule against the laboratory reference: tests/data/policy_vectors.json says how its numbers were made."""

import json
from pathlib import Path

import pytest

from proxy.policy import Adaptive, Memory, Need, Resident, Stay, UsageBook, Wanted, ahead, hazard, room
from tests.unit.policy.values import GIB

STATES = json.loads((Path(__file__).parents[2] / "data" / "policy_vectors.json").read_text(encoding="utf-8"))["states"]
ROOMS = [(state, room) for state in STATES for room in state["rooms"]]


@pytest.fixture(autouse=True)
def _the_laboratory_s_numbers(monkeypatch):
    """It was written with these, and without a pace of each model's own; the rule is the same with others."""
    monkeypatch.setattr(hazard, "PACE_GAPS", 1e18)
    monkeypatch.setattr(room, "RETURN_SECONDS", 10.0)
    monkeypatch.setattr(ahead, "RISK_WEIGHT", 2.0)


def n_bytes(gib):
    return round(gib * GIB)


def book_of(state):
    book = UsageBook()
    for model, at in state["arrivals"]:
        book.arrived(str(model), at)
    for at in state["evictions"]:
        book.evicted(at)
    return book


def memory_of(state):
    book, now = book_of(state), state["now"]
    residents = tuple(
        Resident(
            model=str(i),
            bytes=n_bytes(state["gib"][i]),
            believed_bytes=n_bytes(believed),
            loss_seconds=state["load"][i] * book.probability(str(i), now, book.horizon_seconds),
            return_probability=book.probability(str(i), now, book.horizon_seconds),
            load_seconds=state["load"][i],
            idle_seconds=book.idle_seconds(str(i), now),
            last_used_at=book.last_used_at(str(i)),
        )
        for i, believed in enumerate(state["believed"])
    )
    return Memory(n_bytes(state["budget"]), state["cap"], state["settle"], residents)


def wanted_of(state):
    book, now = book_of(state), state["now"]
    return [
        Wanted(str(i), n_bytes(gib), book.hazard(str(i), book.idle_seconds(str(i), now)))
        for i, gib in enumerate(state["gib"])
    ]


@pytest.mark.parametrize("state", STATES)
def test_what_is_learnt_from_arrivals_and_evictions_agrees_with_the_reference(state):
    book, now, horizon = book_of(state), state["now"], state["horizon"]
    models = [str(i) for i in range(len(state["gib"]))]
    hazards = [book.hazard(model, book.idle_seconds(model, now)) for model in models]
    losses = [
        load * book.probability(model, now, book.horizon_seconds)
        for model, load in zip(models, state["load"], strict=True)
    ]
    assert book.horizon_seconds == pytest.approx(horizon)
    assert [book.probability(model, now, horizon) for model in models] == pytest.approx(state["probability"])
    assert hazards == pytest.approx(state["hazard"])
    assert losses == pytest.approx(state["loss"])


@pytest.mark.parametrize(("state", "room"), ROOMS)
def test_victims_and_their_cost_agree_with_the_reference(state, room):
    model = room["model"]
    found = Adaptive().make_room(memory_of(state), Need(str(model), n_bytes(state["gib"][model])))
    assert found.cost_seconds == pytest.approx(room["cost"], abs=1e-6)
    assert list(found.victims) == [str(victim) for victim in room["victims"]]


@pytest.mark.parametrize("state", STATES)
def test_room_made_ahead_agrees_with_the_reference(state):
    ahead = Adaptive().room_ahead(memory_of(state), wanted_of(state))
    victim, gain = (int(ahead.victim), ahead.gain_seconds) if ahead else (-1, 0.0)
    assert victim == state["ahead"]
    assert gain == pytest.approx(state["gain"], abs=1e-6)


@pytest.mark.parametrize(("price", "key"), [(0.005, "ttl_5ms"), (0.05, "ttl_50ms")])
@pytest.mark.parametrize("state", STATES)
def test_ttls_agree_with_the_reference(state, price, key):
    book = book_of(state)
    ttls = [
        Adaptive().ttl(Stay(book.hazards(str(i)), n_bytes(gib), load, price, min_seconds=0, max_seconds=1e9)).seconds
        for i, (gib, load) in enumerate(zip(state["gib"], state["load"], strict=True))
    ]
    assert ttls == pytest.approx(state[key])
