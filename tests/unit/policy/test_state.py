import pytest

from proxy.policy.hazard import EDGES, Ages
from proxy.policy.state import ages_from, ages_state, mapping, number, number_or_none


def test_numbers_are_read_as_floats():
    assert number({"a": 3}, "a") == 3.0
    assert number_or_none({"a": None}, "a") is None
    assert number_or_none({"a": 0.5}, "a") == 0.5


@pytest.mark.parametrize("value", [None, "1", True, -1, float("nan"), float("inf"), []])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match="a must be a finite number >= 0, got"):
        number({"a": value}, "a")


def test_what_is_no_mapping_is_refused():
    with pytest.raises(ValueError, match=r"a must be a mapping, got \[\]"):
        mapping({"a": []}, "a")


def test_bins_are_read_back_as_they_were_written():
    ages = Ages.prior()
    ages.add(700.0, decay=0.98)
    again = ages_from({"ages": ages_state(ages)}, "ages")
    assert (again.events, again.exposure) == (ages.events, ages.exposure)


@pytest.mark.parametrize("row", [[0.0] * (len(EDGES) - 1), "events", None])
def test_bins_of_another_number_are_refused(row):
    with pytest.raises(ValueError, match=f"events must be a list of {len(EDGES)} numbers"):
        ages_from({"ages": {"events": row, "exposure": [0.0] * len(EDGES)}}, "ages")
