"""Reads statistics back from plain JSON values, and refuses what is none. Never opens a file."""

from collections.abc import Mapping
from math import isfinite

from proxy.policy.hazard import EDGES, Ages

State = dict[str, object]
"""Plain values that JSON can carry."""


def number(state: Mapping[str, object], key: str) -> float:
    """The number (finite, >= 0) at this key; ValueError otherwise."""
    return _checked(key, state.get(key))


def number_or_none(state: Mapping[str, object], key: str) -> float | None:
    """The number at this key, or None where None stands; ValueError otherwise."""
    value = state.get(key)
    return None if value is None else _checked(key, value)


def numbers(state: Mapping[str, object], key: str) -> list[float]:
    """The list of numbers (finite, >= 0) at this key; ValueError otherwise."""
    value = state.get(key)
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list of numbers, got {value!r}")  # noqa: TRY004 - one error for all bad states
    return [_checked(key, entry) for entry in value]


def mapping(state: Mapping[str, object], key: str) -> Mapping[str, object]:
    """The mapping at this key; ValueError otherwise."""
    value = state.get(key)
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} must be a mapping, got {value!r}")  # noqa: TRY004 - one error for all bad states
    return value


def ages_state(ages: Ages) -> State:
    """Plain values for JSON."""
    return {"events": ages.events, "exposure": ages.exposure}


def ages_from(state: Mapping[str, object], key: str) -> Ages:
    """The bins at this key; ValueError if their number is not that of today's bins."""
    bins = mapping(state, key)
    return Ages(_row(bins, "events"), _row(bins, "exposure"))


def _row(state: Mapping[str, object], key: str) -> list[float]:
    value = state.get(key)
    if not isinstance(value, list) or len(value) != len(EDGES):
        raise ValueError(f"{key} must be a list of {len(EDGES)} numbers, got {value!r}")
    return [_checked(key, entry) for entry in value]


def _checked(key: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value) or value < 0:
        raise ValueError(f"{key} must be a finite number >= 0, got {value!r}")
    return float(value)
