import pytest

from proxy.policy import Memory, Need
from tests.unit.policy.values import memory, resident


def test_a_resident_is_busy_while_it_has_seconds_left_to_serve():
    assert resident("a", remaining=0.1).busy
    assert not resident("a").busy


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("bytes", {"gib": -1}),
        ("believed_bytes", {"believed_gib": -1}),
        ("loss_seconds", {"loss": float("nan")}),
        ("return_probability", {"chance": 1.1}),
        ("load_seconds", {"load": -1}),
        ("idle_seconds", {"idle": -1}),
        ("remaining_seconds", {"remaining": -1}),
    ],
)
def test_a_resident_refuses_numbers_that_make_no_sense(field, values):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        resident("a", **values)


def test_memory_needs_room_for_one_model_at_least():
    with pytest.raises(ValueError, match="max_models must be finite and >= 1 models, got 0"):
        memory(max_models=0)


def test_memory_refuses_a_negative_budget_or_settling():
    with pytest.raises(ValueError, match="budget_bytes must be"):
        memory(budget_gib=-1)
    with pytest.raises(ValueError, match="settle_seconds must be"):
        Memory(budget_bytes=None, max_models=1, settle_seconds=-0.1, residents=())


def test_memory_refuses_a_chance_above_one():
    with pytest.raises(ValueError, match="return_bias must be finite and >= 0 and <= 1"):
        Memory(budget_bytes=None, max_models=1, settle_seconds=0.5, residents=(), return_bias=1.1)


def test_needs_refuse_negative_numbers():
    with pytest.raises(ValueError, match="bytes must be"):
        Need("a", -1)
