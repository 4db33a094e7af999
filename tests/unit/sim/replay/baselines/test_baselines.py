"""Each baseline decides by its source's formula. One file: what they do not decide by themselves is Lru's."""

import pytest

from proxy.policy import Need, Stay, Wanted
from proxy.policy.hazard import EDGES
from proxy.sim.replay.baselines import Clairvoyant, Gdsf, Herd, Histogram, Lemonade
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel
from tests.unit.policy.values import GIB, memory, resident

DAY = 86400.0
NEED = Need("new", 4 * GIB)
LIKELY = 1e3  # a hazard that only a policy without foresight would follow


def test_lemonade_lets_go_what_was_idle_longest_for_its_load_time():
    # 100 s / 10 s = 10 against 30 s / 2 s = 15: the younger one is cheaper to load again
    slow, quick = resident("slow", 8, idle=100, load=10, used_at=1), resident("quick", 8, idle=30, load=2, used_at=2)
    assert Lemonade().make_room(memory(slow, quick, budget_gib=20), NEED).victims == ("quick",)


def test_lemonade_takes_a_model_that_loads_in_no_time_for_disposable():
    free, other = resident("free", 8, idle=1, load=0), resident("other", 8, idle=100, load=1)
    assert Lemonade().make_room(memory(free, other, budget_gib=20), NEED).victims == ("free",)


def test_gdsf_lets_go_what_is_rarely_used_quick_to_load_or_big():
    policy = Gdsf()
    for model in ("a", "a", "a", "b"):
        policy.asked(model, 0.0)
    # priorities: 3 · 5 s / 8 GiB against 1 · 5 s / 8 GiB
    assert policy.make_room(memory(resident("a", 8), resident("b", 8), budget_gib=20), NEED).victims == ("b",)
    # 3 · 1 s / 8 GiB against 1 · 5 s / 8 GiB
    cheap = memory(resident("a", 8, load=1), resident("b", 8, load=5), budget_gib=20)
    assert policy.make_room(cheap, NEED).victims == ("a",)


def test_gdsf_forgets_old_merits_as_its_clock_goes_on():
    policy = Gdsf()
    for model in ("old", "old", "old", "young"):
        policy.asked(model, 0.0)
    policy.make_room(memory(resident("old", 8), resident("young", 8), budget_gib=20), NEED)
    policy.asked("young", 1.0)
    policy.asked("young", 2.0)
    # young was used three times now as well, but later: the clock stands at its own first priority
    assert policy.make_room(memory(resident("old", 8), resident("young", 8), budget_gib=20), NEED).victims == ("old",)


def test_herd_counts_today_three_times_and_the_days_of_the_week_on_average():
    policy = Herd()
    for _ in range(30):
        policy.asked("last_week", 0.0)
    policy.asked("today", 3 * DAY)
    policy.asked("today", 3 * DAY)
    both = memory(resident("last_week", 8), resident("today", 8), budget_gib=20)
    # 30 / 7 = 4.3 against 3 · 2 + 2 / 7 = 6.3
    assert policy.make_room(both, NEED).victims == ("last_week",)
    for _ in range(20):
        policy.asked("last_week", 3 * DAY)
    assert policy.make_room(both, NEED).victims == ("today",)


def test_herd_forgets_after_a_week():
    policy = Herd()
    for _ in range(50):
        policy.asked("forgotten", 0.0)
    policy.asked("now", 8 * DAY)
    both = memory(resident("forgotten", 8), resident("now", 8), budget_gib=20)
    assert policy.make_room(both, NEED).victims == ("forgotten",)


def stay(longest=30 * DAY):
    return Stay(tuple(0.0 for _ in EDGES), GIB, 5.0, 0.005, 0.0, longest, "m")


def idle_times(*gaps):
    policy, at = Histogram(), 0.0
    policy.asked("m", at)
    for gap in gaps:
        at += gap
        policy.asked("m", at)
    return policy


def test_the_histogram_keeps_a_model_ten_per_cent_longer_than_nearly_all_its_idle_times():
    # the 250 s lie in the fifth minute, which ends at 300 s; one in a thousand comes later
    assert idle_times(*[250.0] * 999, 9000.0).ttl(stay()).seconds == pytest.approx(330)


@pytest.mark.parametrize("gaps", [(), [5 * 3600.0] * 20, [60.0 * minute + 1 for minute in range(200)]])
def test_the_histogram_keeps_what_it_knows_too_little_of_for_its_whole_range(gaps):
    """Nothing known yet; mostly beyond the range; any idle time as likely as the others."""
    assert idle_times(*gaps).ttl(stay()).seconds == 4 * 3600


def test_the_histogram_stays_within_the_settings():
    assert idle_times().ttl(stay(longest=600.0)).seconds == 600


@pytest.fixture
def clairvoyant():
    models = tuple(WorkloadModel(name, 8 * GIB, 5.0) for name in ("soon", "late", "never"))
    policy = Clairvoyant(Workload(models, (Arrival(0.0, 0, 1.0), Arrival(50.0, 0, 1.0), Arrival(2000.0, 1, 1.0))))
    policy.asked("soon", 0.0)
    return policy


def test_the_clairvoyant_lets_go_what_comes_back_last(clairvoyant):
    soon, late, never = (resident(name, 8, chance=0.5) for name in ("soon", "late", "never"))
    assert clairvoyant.make_room(memory(soon, late, budget_gib=20), NEED).victims == ("late",)
    assert clairvoyant.make_room(memory(late, never, budget_gib=20), NEED).victims == ("never",)


def test_the_clairvoyant_makes_room_for_the_next_request_only(clairvoyant):
    # soon needs 10 GiB and comes next; two others are in its way, and waiting for both to leave would take 5 s
    residents = memory(resident("late", 9), resident("never", 9, load=1), budget_gib=24)
    ahead = clairvoyant.room_ahead(residents, [Wanted("soon", 10 * GIB, 0.0), Wanted("late", 9 * GIB, LIKELY)])
    assert ahead is not None
    assert ahead.victim == "never"
    # nobody else has to leave for late, which is there
    clairvoyant.asked("soon", 50.0)
    assert clairvoyant.room_ahead(residents, [Wanted("soon", 10 * GIB, 1.0), Wanted("late", 9 * GIB, 0.0)]) is None


def test_the_clairvoyant_keeps_everything(clairvoyant):
    assert clairvoyant.ttl(stay(longest=3600.0)).seconds == 3600
