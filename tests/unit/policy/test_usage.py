import pytest

from proxy.policy.usage import Usage, averaged

HOUR, DAY = 3600.0, 86400.0


def test_an_average_starts_with_its_first_value_and_then_moves_by_its_weight():
    assert averaged(None, 4.0, 0.1) == 4.0
    assert averaged(4.0, 14.0, 0.1) == 5.0


def test_the_weight_of_who_asks_follows_the_last_requests():
    usage = Usage(0.0, 0.0)
    assert usage.client_weight is None
    usage.arrived(0.0, 4.0)
    assert usage.client_weight == 4.0
    for i in range(10):
        usage.came_back(i * 60.0, 1.0)
    assert usage.client_weight == pytest.approx(1.0 + 3.0 * 0.9**10)  # two thirds of it are the last ten requests


def test_a_gap_is_measured_from_the_last_arrival():
    usage = Usage(first_arrival=100.0, last_arrival=100.0)
    assert usage.came_back(130.0) == 30.0
    assert usage.last_arrival == 130.0


def test_a_clock_that_jumps_back_makes_no_negative_gap_and_no_earlier_arrival():
    usage = Usage(first_arrival=100.0, last_arrival=100.0)
    assert usage.came_back(40.0) == 0.0
    assert usage.last_arrival == 100.0
    assert usage.idle_seconds(40.0) == 0.0


def test_loads_from_disk_and_from_the_page_cache_are_averaged_apart():
    usage = Usage(0.0, 0.0)
    usage.loaded(30.0, page_cache_warm=False)
    usage.loaded(4.0, page_cache_warm=True)
    usage.loaded(6.0, page_cache_warm=True)
    assert usage.load_seconds(page_cache_warm=False) == 30.0
    assert usage.load_seconds(page_cache_warm=True) == pytest.approx(4.6)  # 4 + 0.3 * 2


def test_a_load_of_the_other_kind_is_a_better_guess_than_the_prior():
    usage = Usage(0.0, 0.0)
    assert usage.load_seconds(page_cache_warm=True) is None
    usage.loaded(30.0, page_cache_warm=False)
    assert usage.load_seconds(page_cache_warm=True) == 30.0


def test_a_single_request_counts_as_one_per_hour_not_as_a_torrent():
    usage = Usage(0.0, 0.0)
    usage.arrived(0.0)
    assert usage.rate_per_hour(1.0) == pytest.approx(1.0, rel=1e-3)


def test_a_steady_use_shows_its_rate_at_any_age():
    usage = Usage(0.0, 0.0)
    for i in range(20 * 72):
        usage.arrived(i * HOUR / 20)
        if i in {20 * 2, 20 * 10, 20 * 71}:
            assert usage.rate_per_hour(i * HOUR / 20) == pytest.approx(20, rel=0.05)


def test_the_rate_fades_when_nobody_asks_any_more():
    usage = Usage(0.0, 0.0)
    for i in range(100):
        usage.arrived(i * 60.0)
    assert usage.rate_per_hour(3 * DAY) < 0.1 * usage.rate_per_hour(100 * 60.0)


def test_a_state_is_read_back_as_it_was_written():
    usage = Usage(1.0, 1.0)
    usage.came_back(50.0)
    usage.loaded(3.0, page_cache_warm=True)
    assert Usage.from_state(usage.to_state()).to_state() == usage.to_state()
