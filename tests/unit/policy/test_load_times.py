import json

import pytest

from proxy.policy import UsageBook
from proxy.policy.load_times import PRIOR, LoadTimes

GB = 10**9


def seen(*loads):
    times = LoadTimes()
    for number, (gigabytes, seconds) in enumerate(loads):
        times.add(f"m{number}", int(gigabytes * GB), seconds)
    return times


def test_before_any_load_the_prior_holds():
    assert seen().line == PRIOR
    assert PRIOR.seconds(5 * GB) == pytest.approx(1 + 2.0)
    assert not seen()


def test_a_single_load_scales_the_prior():
    assert seen((5, 12.0)).line.seconds(5 * GB) == pytest.approx(12.0)  # four times slower
    assert seen((5, 12.0)).line.seconds(10 * GB) == pytest.approx(4 * 5.0)


def test_models_of_like_sizes_tell_nothing_of_the_constant_so_they_scale_the_prior_too():
    line = seen((5.0, 12.0), (5.1, 12.0), (5.0, 11.0), (4.9, 13.0)).line
    assert line.constant_seconds / (1 / line.bytes_per_second) == pytest.approx(1.0 * 2.5e9)
    assert line.seconds(5 * GB) == pytest.approx(12.0, rel=0.05)


def test_constant_and_speed_are_found_from_models_of_different_sizes():
    line = seen(*[(size, 3.0 + size / 0.5) for size in (1, 2, 5, 9)]).line
    assert line.constant_seconds == pytest.approx(3.0)
    assert line.bytes_per_second == pytest.approx(0.5e9)


def test_a_load_that_hung_bends_nothing():
    loads = [(size, 3.0 + size / 0.5) for size in (1, 2, 3, 5, 8, 9, 12, 20)]
    line = seen(*loads, (4, 700.0), (10, 700.0)).line
    assert line.seconds(6 * GB) == pytest.approx(15.0, rel=0.1)


def test_loads_of_the_same_model_count_once_by_their_average():
    times = seen(*[(size, 1.0 + size) for size in (1, 2, 5, 9)])
    for _ in range(100):
        times.add("m1", 2 * GB, 3.0)
    assert times.line.bytes_per_second == pytest.approx(1e9)
    times.add("m1", 2 * GB, 13.0)
    assert times.to_state()["m1"] == {"bytes": 2 * GB, "seconds": pytest.approx(3.0 + 0.3 * 10)}


def test_big_models_that_load_faster_than_small_ones_scale_the_prior():
    line = seen((1, 9.0), (2, 8.0), (4, 7.0), (8, 6.0)).line
    assert 0 < line.seconds(4 * GB) < 20


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
@pytest.mark.parametrize("sizes", [(1,), (1, 2, 5, 9)])
def test_constant_and_speed_stay_within_what_machines_can_be(seconds, sizes):
    line = seen(*[(size, seconds * size) for size in sizes]).line
    assert 1e7 <= line.bytes_per_second <= 1.001e11
    assert 0 <= line.constant_seconds <= 60


def test_the_models_loaded_last_count_and_no_more_than_32_of_them():
    times = seen(*[(1 + size, 500.0) for size in range(40)], *[])
    assert list(times.to_state()) == [f"m{number}" for number in range(8, 40)]
    times.add("m8", 9 * GB, 1.0)
    assert list(times.to_state())[-1] == "m8"


def test_a_state_is_read_back_as_it_was_written():
    times = seen((1, 2.0), (5, 4.0), (9, 6.5))
    again = LoadTimes.from_state(json.loads(json.dumps(times.to_state())))
    assert (again.to_state(), again.line) == (times.to_state(), times.line)


# In the book: disk and page cache apart


def book_with(*loads, page_cache_warm):
    book = UsageBook()
    for number, (gigabytes, seconds) in enumerate(loads):
        book.arrived(f"m{number}", 1000.0)
        book.loaded(f"m{number}", seconds, file_bytes=int(gigabytes * GB), page_cache_warm=page_cache_warm)
    return book


SLOW_DISK = [(size, 3.0 + size / 0.5) for size in (1, 2, 5, 9)]
QUICK_MEMORY = [(size, 0.5 + size / 5) for size in (1, 2, 5, 9)]


def test_a_model_never_loaded_is_expected_to_load_as_others_of_its_size_would():
    book = book_with(*SLOW_DISK, page_cache_warm=False)
    assert book.load_seconds("new", file_bytes=4 * GB, page_cache_warm=False) == pytest.approx(11.0)
    assert book.load_seconds("m0", file_bytes=4 * GB, page_cache_warm=False) == 5.0  # its own loads count


def test_disk_and_page_cache_are_learnt_apart():
    book = book_with(*SLOW_DISK, page_cache_warm=False)
    for number, (gigabytes, seconds) in enumerate(QUICK_MEMORY):
        book.loaded(f"m{number}", seconds, file_bytes=gigabytes * GB, page_cache_warm=True)
    assert book.load_seconds("new", file_bytes=4 * GB, page_cache_warm=False) == pytest.approx(11.0)
    assert book.load_seconds("new", file_bytes=4 * GB, page_cache_warm=True) == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("loads", "seen_warm", "asked_warm", "expected"),
    [
        (SLOW_DISK, False, True, 1 + 4 / 2.5),  # a slow disk tells nothing of memory
        (QUICK_MEMORY, True, False, 1 + 4 / 2.5),  # and quick memory nothing of the disk
        ([(size, 0.1 + size / 10) for size in (1, 2, 5, 9)], False, True, 0.5),  # memory is no slower than this disk
        (SLOW_DISK, True, False, 11.0),  # no disk is quicker than this memory
    ],
)
def test_of_the_kind_not_seen_yet_the_prior_holds_within_what_the_other_allows(loads, seen_warm, asked_warm, expected):
    book = book_with(*loads, page_cache_warm=seen_warm)
    assert book.load_seconds("new", file_bytes=4 * GB, page_cache_warm=asked_warm) == pytest.approx(expected)
    assert book.load_line(page_cache_warm=not seen_warm) is None


def test_a_load_of_unknown_size_teaches_the_model_alone():
    book = book_with((0, 700.0), page_cache_warm=False)
    assert book.load_seconds("m0", file_bytes=0, page_cache_warm=False) == 700.0
    assert book.load_line(page_cache_warm=False) is None


def test_what_loads_taught_survives_a_restart_and_older_statistics_are_still_read():
    book = book_with(*SLOW_DISK, page_cache_warm=False)
    state = json.loads(json.dumps(book.to_state()))
    assert UsageBook.from_state(state).load_line(page_cache_warm=False) == book.load_line(page_cache_warm=False)
    older = {key: value for key, value in state.items() if not key.startswith("loads_")}
    again = UsageBook.from_state(older)
    assert again.load_line(page_cache_warm=False) is None
    assert again.load_seconds("m0", file_bytes=0, page_cache_warm=False) == 5.0


@pytest.mark.parametrize("damage", [{"loads_from_disk": []}, {"loads_from_disk": {"m": {"bytes": -1, "seconds": 1}}}])
def test_damaged_load_times_are_refused(damage):
    with pytest.raises(ValueError, match="must be a"):
        UsageBook.from_state({**UsageBook().to_state(), **damage})
