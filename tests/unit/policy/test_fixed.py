import pytest

from proxy.policy import Fixed, Need, Stay
from proxy.policy.hazard import EDGES
from tests.unit.policy.values import GIB, memory, resident


def stay(shortest, longest):
    return Stay(tuple(0.0 for _ in EDGES), GIB, 5.0, 1.0, shortest, longest)


def test_every_model_has_the_same_keep_alive():
    ttl = Fixed(600.0).ttl(stay(0.0, 86400.0))
    assert (ttl.seconds, ttl.why()) == (600.0, "kept 10m: fixed, as every model")


def test_the_default_is_ollamas_own():
    assert Fixed().ttl(stay(0.0, 86400.0)).seconds == 300.0


def test_the_bounds_of_a_model_win():
    assert Fixed(600.0).ttl(stay(900.0, 1800.0)).seconds == 900.0
    assert Fixed(600.0).ttl(stay(0.0, 60.0)).seconds == 60.0


def test_the_model_whose_time_is_up_first_leaves_first():
    residents = [resident("new", loss=0, used_at=30), resident("old", loss=99, used_at=10), resident("mid", used_at=20)]
    assert Fixed().make_room(memory(*residents), Need("x", GIB)).victims == ("old",)


def test_an_endless_keep_alive_is_refused():
    with pytest.raises(ValueError, match="keep_alive_seconds must be finite"):
        Fixed(float("inf"))
