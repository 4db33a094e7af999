from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.domain.model import ModelFacts, RunnerOptions
from proxy.engine.compatible import surely_reloads
from proxy.engine.state import Learnt, Resident, Running

OTHER = {"num_batch": 64, "num_gpu": 10, "main_gpu": 1, "use_mmap": False, "num_thread": 4}


def running(name: str = "a:latest", *, shift: bool | None = None, **options: Any) -> Running:
    return Running(name, RunnerOptions(tuple(sorted(options.items())), shift))


def reloads(
    runs: Running | None,
    wants: Running,
    *,
    loaded_context: int = 4096,
    automatic: int | None = 4096,
    train_context: int = 0,
) -> bool:
    resident = Resident("a:latest", "a:latest", 1, 1, 0.0, context_length=loaded_context, runs=runs)
    facts = ModelFacts("a:latest", "sha256-a", 1, train_context=train_context)
    return surely_reloads(resident, wants, Learnt(facts=facts, automatic_context=automatic))


def test_what_was_loaded_just_like_this_is_not_reloaded() -> None:
    assert not reloads(running(num_ctx=8192, num_gpu=3), running(num_ctx=8192, num_gpu=3), loaded_context=8192)


@pytest.mark.parametrize("option", sorted(OTHER))
def test_another_value_of_a_runner_option_reloads(option: str) -> None:
    assert reloads(running(**{option: 2}), running(**{option: OTHER[option]}))


@pytest.mark.parametrize("option", sorted(OTHER))
def test_an_option_that_one_side_leaves_open_is_left_to_ollama(option: str) -> None:
    assert not reloads(running(), running(**{option: OTHER[option]}))
    assert not reloads(running(**{option: OTHER[option]}), running())


def test_a_number_of_layers_on_what_was_loaded_with_num_gpu_minus_one_reloads() -> None:
    assert reloads(running(num_gpu=-1), running(num_gpu=20))


def test_a_contradicting_shift_reloads_and_one_left_open_does_not() -> None:
    assert reloads(running(shift=True), running(shift=False))
    assert not reloads(running(shift=True), running())
    assert not reloads(running(), running(shift=False))


@pytest.mark.parametrize(
    ("loaded", "asked", "context", "automatic", "train", "expected"),
    [
        (4096, 16384, 4096, 4096, 0, True),  # explicit against another explicit one
        (None, 4096, 4096, 4096, 0, False),  # explicit, and the same as the automatic one
        (None, 16384, 4096, 4096, 0, True),
        (16384, None, 16384, 4096, 0, True),  # automatic means 4096 for this model
        (16384, None, 16384, None, 0, False),  # what automatic means is not known: left to Ollama
        (None, 16384, 0, 4096, 0, False),  # /api/ps did not tell the context: left to Ollama
        (None, 262_144, 8192, 8192, 8192, False),  # both are cut to what the model was made for
        (None, 4096, 8192, 8192, 8192, True),  # below that nothing is cut
        (None, 2048, 512, 512, 512, False),
    ],
)
def test_contexts_are_compared_as_numbers_where_both_are_known(
    loaded: int | None, asked: int | None, context: int, automatic: int | None, train: int, *, expected: bool
) -> None:
    runs, wants = (running() if n is None else running(num_ctx=n) for n in (loaded, asked))
    assert reloads(runs, wants, loaded_context=context, automatic=automatic, train_context=train) is expected


def test_what_the_modelfile_says_is_what_a_request_without_a_context_means() -> None:
    resident = Resident("a:latest", "a:latest", 1, 1, 0.0, context_length=4096, runs=running(num_ctx=4096))
    facts = ModelFacts("a:latest", "sha256-a", 1, default_num_ctx=8192)
    assert surely_reloads(resident, running(), Learnt(facts=facts))
    assert not surely_reloads(resident, running(), Learnt(facts=replace(facts, default_num_ctx=4096)))
    other = replace(facts, model="b:latest")  # another name's Modelfile does not count
    assert not surely_reloads(resident, running(), Learnt(facts=other))


def test_of_a_model_that_others_loaded_nothing_is_certain() -> None:
    assert not reloads(None, running(num_ctx=16384))


def test_another_name_of_the_same_weights_is_left_to_ollama_because_its_modelfile_counts() -> None:
    assert not reloads(running("b:latest", num_ctx=8192), running("a:latest", num_ctx=4096), loaded_context=8192)
