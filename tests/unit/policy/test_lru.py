from proxy.policy import Lru, Need, Stay, Wanted
from proxy.policy.hazard import EDGES
from tests.unit.policy.values import GIB, memory, resident


def test_the_least_recently_used_leaves_first_whatever_it_costs():
    residents = [resident("new", loss=0, used_at=30), resident("old", loss=99, used_at=10), resident("mid", used_at=20)]
    assert Lru().make_room(memory(*residents), Need("x", GIB)).victims == ("old",)


def test_victims_leave_one_by_one_until_the_plain_rule_holds():
    residents = [resident(model, 6, used_at=at) for model, at in (("a", 3), ("b", 2), ("c", 1))]
    # 24 - 6 = 18 GiB free of which 80 % are 14.4
    assert Lru().make_room(memory(*residents), Need("x", 14 * GIB)).victims == ("c", "b")


def test_idle_models_leave_before_busy_ones():
    residents = [resident("busy", used_at=1, remaining=5), resident("idle", used_at=2), resident("c", used_at=3)]
    room = Lru().make_room(memory(*residents), Need("x", GIB))
    assert room.victims == ("idle",)
    all_of_it = Lru().make_room(memory(*residents), Need("x", 24 * GIB))
    assert all_of_it.victims == ("idle", "c", "busy")
    assert not all_of_it.idle


def test_no_room_is_made_ahead():
    assert Lru().room_ahead(memory(resident("a", 20)), [Wanted("x", GIB, 1.0)]) is None


def test_everything_stays_for_the_maximum():
    ttl = Lru().ttl(Stay(tuple(0.0 for _ in EDGES), GIB, 5.0, 1.0, 300.0, 7200.0))
    assert (ttl.seconds, ttl.why()) == (7200.0, "kept 2h: the maximum, as every model")
