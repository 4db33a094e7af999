"""Durations and sizes as people write them, both ways: Go's durations ('1h30m'), byte sizes ('22GiB').

Never guesses: a text without a unit is refused, and what is written exactly can be read back exactly.
"""

import re
from decimal import Decimal
from typing import Final

GIB: Final = 1024**3

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,  # the micro sign
    "\u03bcs": 10**3,  # the Greek letter
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_NANOSECONDS_WITH_DAYS: Final = {**_NANOSECONDS, "d": 24 * 3600 * 10**9}
_TWO_DAYS: Final = 2 * 24 * 3600 * 10**9
_INT64_LIMIT: Final = 2**63
_DURATION_PART: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^.0-9]*)")

_BINARY: Final = {"TiB": 1024**4, "GiB": 1024**3, "MiB": 1024**2, "KiB": 1024, "B": 1}
_DECIMAL: Final = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "kB": 10**3, "B": 1}
_BYTES: Final = {**_BINARY, **_DECIMAL, "KB": 10**3}
_SIZE: Final = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?)([A-Za-z]+)")


def parse_duration(text: str, *, days: bool = False) -> float:
    """Read a duration exactly as Go's `time.ParseDuration` does, rounding and limits included.

    Args:
        text: Decimal numbers with a unit each (ns, us, µs, ms, s, m, h), with an optional sign in front: '90s', '1.5h',
            '-1h30m'. '0' needs no unit.
        days: Takes 'd' (24 hours) as a unit too, which Go does not.

    Returns:
        Seconds; negative if the text is. At most 2^63 - 1 nanoseconds, about 292 years.

    Raises:
        ValueError: The text is no such duration.
    """
    negative = text.startswith("-")
    unsigned = text[1:] if text.startswith(("-", "+")) else text
    if unsigned == "0":
        return 0.0
    units = _NANOSECONDS_WITH_DAYS if days else _NANOSECONDS
    total, position = 0, 0
    while position < len(unsigned) or not unsigned:
        part = _DURATION_PART.match(unsigned, position)
        nanoseconds = _nanoseconds(part, units) if part else None
        if part is None or nanoseconds is None:
            raise ValueError(f"duration must look like '90s', '5m' or '1h30m', got {text!r}")
        total += nanoseconds
        position = part.end()
    if total > _INT64_LIMIT - (not negative):
        raise ValueError(f"duration must be at most 292 years, got {text!r}")
    return (-total if negative else total) / 1e9


def _nanoseconds(part: re.Match[str], units: dict[str, int]) -> int | None:
    """One number with its unit; None if it is none. The fraction is reckoned in floating point, because Go does."""
    whole, fraction, name = part.group(1), part.group(2) or "", part.group(3)
    unit = units.get(name)
    if unit is None or not (whole or fraction):
        return None
    value, scale = 0, 1.0
    for digit in fraction:
        if value > (_INT64_LIMIT - 1) // 10 or value * 10 + int(digit) > _INT64_LIMIT:
            break  # Go drops the digits that its integer cannot hold
        value, scale = value * 10 + int(digit), scale * 10
    significant = whole.lstrip("0")
    if len(significant) > len(str(_INT64_LIMIT)):
        return _INT64_LIMIT + 1  # too long whatever the unit, and not worth converting
    return int(significant or "0") * unit + int(value * (unit / scale))


def exact_duration(seconds: float) -> str:
    """Write a duration so that `parse_duration(…, days=True)` reads the same value: '30d', '1h30m', '5ms', '0s'."""
    rest = round(abs(seconds) * 1e9)
    text = "-" if seconds < 0 and rest else ""
    for name in ("d", "h", "m") if rest >= _TWO_DAYS else ("h", "m"):
        count, rest = divmod(rest, _NANOSECONDS_WITH_DAYS[name])
        text += f"{count}{name}" if count else ""
    if rest == 0:
        return text or "0s"
    name = next(name for name in ("s", "ms", "us", "ns") if rest >= _NANOSECONDS[name])
    return f"{text}{Decimal(rest) / _NANOSECONDS[name]:f}{name}"


def format_duration(seconds: float) -> str:
    """Write a duration for people, rounded to what matters: '47m12s', '6.2s', '350ms', '24h', '30d'."""
    size = abs(seconds)
    # The grain is a tenth of a second below a minute, a second below an hour, then a minute, then an hour.
    for limit, grain in ((1e-3, 1e-6), (1.0, 1e-3), (60.0, 0.1), (3600.0, 1.0), (2 * 86400.0, 60.0)):
        if size < limit:
            return exact_duration(round(round(seconds / grain) * grain, 9))
    return exact_duration(round(seconds / 3600.0) * 3600.0)


def parse_bytes(text: str) -> int:
    """Read a size in bytes.

    Args:
        text: A decimal number and its unit without a space: B, KiB, MiB, GiB, TiB (powers of 1024) or kB, KB, MB, GB,
            TB (powers of 1000): '22GiB', '1.5GiB', '24GB'.

    Returns:
        Bytes, rounded down; 0 to 2^63 - 1.

    Raises:
        ValueError: The text is no such size.
    """
    match = _SIZE.fullmatch(text)
    if match is None or match.group(2) not in _BYTES:
        raise ValueError(f"size must look like '22GiB', '512MiB' or '24GB', got {text!r}")
    count = int(Decimal(match.group(1)) * _BYTES[match.group(2)])
    if count >= _INT64_LIMIT:
        raise ValueError(f"size must be below 8388608TiB, got {text!r}")
    return count


def exact_bytes(count: int) -> str:
    """Write a size so that `parse_bytes` reads the same value, in the unit that needs the fewest characters."""
    spellings = [f"{count // unit}{name}" for name, unit in {**_BINARY, **_DECIMAL}.items() if count % unit == 0]
    return min(spellings, key=len) if count else "0B"


def format_bytes(count: float) -> str:
    """Write a size for people, to a tenth of a binary unit: '5.9GiB', '22GiB', '512MiB'."""
    name, unit = next(((name, unit) for name, unit in _BINARY.items() if abs(count) >= unit), ("B", 1))
    return f"{count / unit:.1f}".removesuffix(".0") + name
