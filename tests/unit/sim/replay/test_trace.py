from pathlib import Path

import pytest

from proxy.sim.replay.published import azure
from proxy.sim.replay.rows import TraceError
from proxy.sim.replay.trace import Assignment, DrawnModels, KnownModels, Trace
from proxy.sim.replay.workload import WorkloadModel

SMALL, BIG = WorkloadModel("small:1b", 10, 1.0), WorkloadModel("big", 100, 9.0)
TRACE = Trace.of("t", [(30.0, "b", 1.0), (10.0, "a", 2.0), (20.0, "c", 3.0), (40.0, "a", 4.0)])


def test_requests_are_put_in_the_order_of_time_from_zero_on():
    assert TRACE.ids == ("a", "b", "c")
    assert [tuple(arrival) for arrival in TRACE.arrivals] == [(0, 0, 2), (10, 2, 3), (20, 1, 1), (30, 0, 4)]


def test_a_trace_without_requests_is_refused():
    with pytest.raises(TraceError, match=r"t: expected at least one request \(got none\)"):
        Trace.of("t", [])


def test_each_id_gets_a_model_of_its_own_that_fits():
    workload = Assignment((SMALL, BIG), gpu_bytes=50, max_ids=9).of(TRACE, seed=1)
    assert [model.name for model in workload.models] == ["small-a:1b", "small-b:1b", "small-c:1b"]
    assert workload.arrivals == TRACE.arrivals


def test_the_same_seed_draws_the_same_models():
    assignment = Assignment((SMALL, BIG), gpu_bytes=100, max_ids=9)
    drawn = [tuple(model.bytes for model in assignment.of(TRACE, seed).models) for seed in range(20)]
    assert drawn == [tuple(model.bytes for model in assignment.of(TRACE, seed).models) for seed in range(20)]
    assert len(set(drawn)) == 8  # all that two models for three ids can give


def test_of_more_ids_some_are_drawn_and_the_others_left_out():
    workload = Assignment((SMALL,), gpu_bytes=100, max_ids=2).of(TRACE, seed=1)
    assert len(workload.models) == 2
    kept = {model.name.removesuffix(":1b")[-1] for model in workload.models}
    assert len(workload.arrivals) == sum(TRACE.ids[arrival.model] in kept for arrival in TRACE.arrivals)
    assert {arrival.model for arrival in workload.arrivals} == {0, 1}


def test_a_gpu_that_nothing_fits_into_is_refused():
    with pytest.raises(TraceError, match="none of 2 models fits into 5 bytes"):
        Assignment((SMALL, BIG), gpu_bytes=5, max_ids=9).of(TRACE, seed=1)


def test_a_drawn_workload_depends_on_the_seed_only():
    source = DrawnModels(azure, Path("tests/data/traces/azure.csv"), Assignment((SMALL, BIG), gpu_bytes=100, max_ids=3))
    assert source.of(1) == source.of(1) != source.of(2)


def test_models_that_are_known_stay_and_others_are_drawn():
    known = WorkloadModel("b", 77, 7.0)
    source = KnownModels(TRACE, (known,), (SMALL, BIG), gpu_bytes=100)
    assert source.unknown == ("a", "c")
    drawn = [source.of(seed) for seed in range(20)]
    assert all(workload.models[1] == known and workload.arrivals == TRACE.arrivals for workload in drawn)
    assert [model.name for model in drawn[0].models] == ["a", "b", "c"]
    assert len({workload.models for workload in drawn}) == 4
