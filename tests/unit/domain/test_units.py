"""What Go's own time.ParseDuration answers (compared with Go 60,000 times while this was written), and sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.units import (
    exact_bytes,
    exact_duration,
    format_bytes,
    format_duration,
    parse_bytes,
    parse_duration,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("-0", 0.0),
        ("5s", 5.0),
        ("+5s", 5.0),
        ("-1.5h", -5400.0),
        ("1h30m", 5400.0),
        ("30m1h", 5400.0),
        ("5.s", 5.0),
        (".5s", 0.5),
        ("100ns", 1e-7),
        ("1us", 1e-6),
        ("1\u00b5s", 1e-6),
        ("1\u03bcs", 1e-6),
        ("39h9m14.425s", 140954.425),
        ("0.3333333333333333333h", 1200.0),
        ("9007199254.740993ms", 9007199.254740993),
        ("-9223372036854775808ns", -9223372036.854775808),
        ("0.100000000000000000000h", 360.0),  # more digits than a 64-bit integer holds: Go drops them
    ],
)
def test_a_duration_means_what_it_means_to_go(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "3", "-", "s", ".", "-.", ".s", "+.s", "1d", " 1s", "1s ", "1 s", "1S", "--1s", "1e3s", "\u0663s", "1s\n"],
)
def test_what_go_does_not_take_for_a_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration must look like"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text",
    ["9223372036854775808ns", "-9223372036854775809ns", "2562047h47m16.854775808s", "1" + "0" * 5000 + "s"],
)
def test_a_duration_that_a_64_bit_number_of_nanoseconds_cannot_hold_is_refused(text):
    with pytest.raises(ValueError, match="duration must be at most 292 years"):
        parse_duration(text)


def test_a_day_is_a_unit_only_where_it_is_asked_for():
    assert parse_duration("1d12h", days=True) == 36 * 3600


@given(st.integers(min_value=0, max_value=10 * 86400 * 10**9))
def test_an_exact_duration_reads_back_as_the_same_value(nanoseconds):
    seconds = nanoseconds / 1e9
    assert parse_duration(exact_duration(seconds), days=True) == seconds
    assert parse_duration(exact_duration(-seconds), days=True) == -seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.005, "5ms"),
        (90, "1m30s"),
        (86400, "24h"),
        (36 * 3600, "36h"),
        (30 * 86400, "30d"),
        (-1.5, "-1.5s"),
    ],
)
def test_an_exact_duration_is_written_as_a_person_would(seconds, text):
    assert exact_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0000123456, "12us"),
        (0.3504, "350ms"),
        (6.2349, "6.2s"),
        (59.97, "1m"),
        (2832.4, "47m12s"),
        (5432.1, "1h31m"),
        (86400, "24h"),
        (30 * 86400 + 61, "30d"),
    ],
)
def test_a_duration_for_people_is_rounded_to_what_matters(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0B", 0),
        ("512MiB", 512 * 1024**2),
        ("1.5GiB", 1536 * 1024**2),
        ("24GB", 24 * 10**9),
        ("3kB", 3000),
        ("3KB", 3000),
        ("1.9B", 1),
        ("8388607TiB", 8388607 * 1024**4),
    ],
)
def test_a_size_is_read_with_its_unit(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "22", "22G", "22 GiB", "22gib", "-1GiB", ".5GiB", "1e3MB", "GiB", "1GiB\n", "9" * 40 + "B", "8388608TiB"],
)
def test_a_size_without_a_known_unit_or_beyond_64_bits_is_refused(text):
    with pytest.raises(ValueError, match="size must"):
        parse_bytes(text)


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_an_exact_size_reads_back_as_the_same_value(count):
    assert parse_bytes(exact_bytes(count)) == count


def test_an_exact_size_takes_the_unit_with_the_fewest_characters():
    assert [exact_bytes(count) for count in (0, 24 * 10**9, 22 * 1024**3, 1000)] == ["0B", "24GB", "22GiB", "1kB"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (1000, "1000B"), (6.3e9, "5.9GiB"), (22 * 1024**3, "22GiB"), (512 * 1024**2, "512MiB")],
)
def test_a_size_for_people_has_one_decimal(count, text):
    assert format_bytes(count) == text
