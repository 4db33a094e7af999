from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.domain import effects as fx
from proxy.domain import events as ev
from proxy.engine.budget import Budget
from tests.unit.engine.transcript import GIB, SETTINGS, Transcript

AUTO = replace(SETTINGS, budget_bytes=None, reserve_bytes=GIB)
SIZES = {"small": 4.0, "middle": 9.0, "large": 10.0, "other": 9.0, "huge": 40.0}


def test_before_anything_is_known_there_is_no_budget_and_it_says_so() -> None:
    budget = Budget()
    assert (budget.total(AUTO), budget.usable(AUTO)) == (None, None)
    assert budget.source(AUTO) == "not known yet: nothing has spilled so far"


def test_a_budget_set_by_a_person_is_taken_as_it_is_where_no_driver_tells() -> None:
    settings = replace(AUTO, budget_bytes=22 * GIB)
    budget = Budget().with_spill(10 * GIB)
    assert (budget.total(settings), budget.usable(settings)) == (22 * GIB, 22 * GIB)
    assert budget.source(settings) == "set in memory.budget"


def test_by_the_driver_models_may_fill_what_there_is_without_what_others_use_and_the_reserve() -> None:
    budget = Budget().with_driver(24 * GIB, others=3 * GIB, gpus=1)
    assert budget.total(AUTO) == 24 * GIB
    assert budget.usable(AUTO) == 20 * GIB
    assert budget.source(AUTO) == "told by the GPU's driver"


def test_a_budget_never_exceeds_what_the_driver_leaves() -> None:
    budget = Budget().with_driver(24 * GIB, others=3 * GIB, gpus=1)
    assert budget.usable(replace(AUTO, budget_bytes=30 * GIB)) == 20 * GIB
    assert budget.usable(replace(AUTO, budget_bytes=10 * GIB)) == 10 * GIB


def test_what_ollama_reckons_with_is_the_whole_gpu_whatever_we_allow_ourselves() -> None:
    budget = Budget().with_driver(24 * GIB, others=3 * GIB, gpus=1)
    assert budget.total(replace(AUTO, budget_bytes=10 * GIB)) == 24 * GIB


def test_others_that_use_nearly_everything_leave_nothing_but_never_less() -> None:
    assert Budget().with_driver(24 * GIB, others=24 * GIB, gpus=1).usable(AUTO) == 0


def test_a_spill_tells_the_limit_but_what_once_fitted_tells_better() -> None:
    assert Budget().with_fit(8 * GIB).usable(AUTO) is None
    assert Budget().with_fit(8 * GIB).with_spill(20 * GIB).usable(AUTO) == 20 * GIB
    assert Budget().with_fit(22 * GIB).with_spill(20 * GIB).usable(AUTO) == 22 * GIB
    assert Budget().with_spill(20 * GIB).source(AUTO) == "learnt from what fitted and what spilled"


def test_of_several_refusals_the_lowest_counts() -> None:
    assert Budget().with_refusal(30 * GIB).with_refusal(20 * GIB).with_refusal(25 * GIB).learnt() == 20 * GIB


@pytest.mark.parametrize(("gpus", "expected"), [(0, 3), (1, 3), (2, 6), (8, 24)])
def test_automatically_three_models_per_gpu_may_be_loaded_as_in_ollama(gpus: int, expected: int) -> None:
    budget = Budget().with_driver(24 * GIB, others=0, gpus=gpus)
    assert budget.max_models(AUTO) == expected
    assert budget.max_models(replace(AUTO, max_models=2)) == 2


def test_a_fourth_model_fits_beside_three_where_there_are_two_gpus() -> None:
    script = Transcript({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0})
    script.ps()
    script.happens(ev.MemoryObserved(script.at, 48 * GIB, 48 * GIB, 2, "NVML"))
    script.warmed("a", "b", "c", "d")
    assert len(script.engine.state.residents) == 4
    assert not any(isinstance(effect, fx.Unload) for effect in script.log)


def test_what_other_programs_use_is_what_the_models_do_not() -> None:
    script = Transcript(SIZES, budget_bytes=None).warmed("small")
    script.happens(ev.MemoryObserved(script.at, 24 * GIB, 17 * GIB, 1, "NVML"))
    assert script.engine.state.budget.others == 3 * GIB  # 7 are taken, 4 of them by the model
    assert script.engine.state.budget.usable(script.engine.state.settings) == 21 * GIB


def test_while_a_model_comes_or_goes_the_driver_does_not_tell_what_others_use() -> None:
    script = Transcript(SIZES, budget_bytes=None).warmed("middle", "large")
    script.happens(ev.MemoryObserved(script.at, 24 * GIB, 5 * GIB, 1, "NVML"))
    request_id = script.asks("other")
    victim = script.one(fx.Unload).model
    script.happens(ev.MemoryObserved(script.at, 24 * GIB, GIB, 1, "NVML"))
    assert script.engine.state.budget.others == 0
    script.ends(request_id, ev.Ending.CLIENT_GONE)
    script.unloads(victim)
    script.happens(ev.MemoryObserved(script.at, 24 * GIB, GIB, 1, "NVML"))  # the driver lags (OLLAMA.md 18)
    assert script.engine.state.budget.others == 0


def test_without_a_driver_a_model_that_spills_teaches_how_much_there_is() -> None:
    script = Transcript(SIZES, budget_bytes=None)
    script.ps()
    script.asks("huge")
    script.loads("huge", vram_gib=22.0)
    assert script.engine.state.budget.usable(script.engine.state.settings) == 22 * GIB
    assert script.forwarded()[1].outcome is fx.Outcome.COLD


def test_without_a_driver_an_eviction_by_ollama_teaches_how_much_there_is_not() -> None:
    script = Transcript(SIZES, budget_bytes=None).warmed("large")
    script.asks("other")
    script.settles(0.02)
    del script.resident["large:latest"]
    script.loads("other")
    budget = script.engine.state.budget
    assert budget.refused_at is not None
    assert 19 * GIB < budget.refused_at < 22 * GIB  # 10 and 9 beside it, by Ollama's rule 10 + 9 / 0.8 = 21.25
    script.ends(2)
    script.after(10).asks("large")
    assert script.one(fx.Unload).model == "other:latest"  # this time it is ours to make room


def test_an_eviction_of_a_model_that_others_loaded_teaches_nothing_because_its_belief_is_not_known() -> None:
    script = Transcript(SIZES, budget_bytes=None)
    script.ps(script.line("large"))
    script.asks("other")
    script.settles(0.02)
    script.loads("other")
    assert "large:latest" not in script.engine.state.residents
    assert script.engine.state.budget.learnt() is None


def test_the_driver_corrects_what_was_learnt() -> None:
    script = Transcript(SIZES, budget_bytes=None)
    script.ps()
    script.asks("huge")
    script.loads("huge", vram_gib=22.0)
    script.unloads("huge")
    script.after(60).happens(ev.MemoryObserved(script.at, 48 * GIB, 48 * GIB, 1, "NVML"))
    assert script.engine.state.budget.usable(script.engine.state.settings) == 48 * GIB
