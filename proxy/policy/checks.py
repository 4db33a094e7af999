"""Checks that the policy's values make of themselves.

Never mends a value: what is out of range is refused with its name, what was expected and what came.
"""

from sys import float_info

_LARGEST = float_info.max


def check_number(name: str, value: float, unit: str, *, at_least: float = 0.0, at_most: float = _LARGEST) -> None:
    """Refuse a number that is not finite or lies outside `at_least` … `at_most`.

    Raises:
        ValueError: naming the value, its unit, the range, and what came.
    """
    if not at_least <= value <= at_most:  # so is what is no number
        upper = f" and <= {at_most:g}" if at_most < _LARGEST else ""
        raise ValueError(f"{name} must be finite and >= {at_least:g}{upper} {unit}, got {value}")
