from __future__ import annotations

from proxy.domain import effects as fx
from proxy.domain.effects import Outcome
from proxy.engine.identity import Identities
from tests.unit.engine.transcript import Transcript

SIZES = {"small": 4.0, "alias": 4.0, "middle": 9.0}
WEIGHTS = "sha256-small:latest"


def test_the_first_name_seen_with_its_weights_stands_for_all() -> None:
    identities = Identities()
    assert identities.key("a:latest", "sha256-1") == "a:latest"
    assert identities.key("b:latest", "sha256-1") == "a:latest"
    assert identities.key("b:latest", "sha256-2") == "b:latest"


def test_a_name_whose_weights_are_not_known_stands_for_itself() -> None:
    identities = Identities()
    assert identities.key("a:latest", "sha256-1") == "a:latest"
    assert identities.key("b:latest", "") == "b:latest"


def test_a_name_whose_weights_cannot_be_told_for_once_stays_the_model_that_it_was() -> None:
    identities = Identities()
    identities.key("a:latest", "sha256-1")
    identities.key("b:latest", "sha256-1")
    assert identities.key("b:latest", "") == "a:latest"
    assert identities.key("b:latest", "sha256-2") == "b:latest"  # made anew from other weights
    assert identities.key("b:latest", "") == "b:latest"


def test_a_busy_model_stays_busy_when_ps_shows_it_by_its_other_name_and_its_weights_cannot_be_told() -> None:
    script = Transcript(SIZES).warmed("small")
    request_id = script.asks("alias", weights=WEIGHTS)
    script.after(1).ps(script.line("alias", weights=""))
    (resident,) = script.engine.state.residents.values()
    assert set(resident.serving) == {request_id}


def test_names_that_clients_make_up_do_not_fill_the_memory_and_those_in_use_stay() -> None:
    identities = Identities()
    identities.key("first:latest", "sha256-first")
    for number in range(10_000):
        identities.key(f"m{number}:latest", f"sha256-{number}")
        if number % 1000 == 0:
            assert identities.key("alias:latest", "sha256-first") == "first:latest"
    assert identities.key("again:latest", "sha256-0") == "again:latest"  # forgotten long ago


def test_requests_by_two_names_run_on_one_resident_and_are_counted_together() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("alias", weights=WEIGHTS)
    script.asks("small")
    (resident,) = script.engine.state.residents.values()
    assert len(resident.serving) == 2
    assert script.engine.state.usage.models == ("small:latest",)


def test_an_alias_that_loads_first_is_loaded_and_unloaded_by_its_own_name() -> None:
    script = Transcript(SIZES).warmed("small")
    script.unloads("small")
    script.asks("alias", weights=WEIGHTS)
    if script.of(fx.Settle):
        script.settles()
    load = script.one(fx.Load)
    assert (load.model, load.name) == ("small:latest", "alias:latest")


def test_a_resident_that_ps_shows_by_its_other_name_is_the_same_model() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("alias", weights=WEIGHTS)
    script.ps(script.line("alias", weights=WEIGHTS))
    (resident,) = script.engine.state.residents.values()
    assert (resident.model, resident.shown) == ("small:latest", "alias:latest")
    assert not script.of(fx.Left)


def test_a_client_unloads_a_model_by_its_other_name() -> None:
    script = Transcript(SIZES).warmed("small")
    script.asks("alias", weights=WEIGHTS, keep_alive=0, unload=True)
    assert script.one(fx.Unload).model == "small:latest"


def test_requests_for_another_name_than_the_loading_one_wait_for_that_load() -> None:
    script = Transcript(SIZES)
    script.ps()
    first = script.asks("small")
    second = script.asks("alias", weights=WEIGHTS)
    assert not script.of(fx.Load)
    assert not script.of(fx.Forward)
    script.loads("small")
    forwarded = script.forwarded()
    assert forwarded[first].outcome is Outcome.COLD
    assert second in forwarded  # options that fit: the alias runs on what is loaded
