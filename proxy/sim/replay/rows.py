"""Reads CSV files, also packed with gzip, and refuses what is wrong with its place. Never guesses a value."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class TraceError(Exception):
    """A trace that cannot be replayed; says where, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a CSV file below its header.

    Attributes:
        place: file and line, for messages.
        values: by the name of the column, in the order of the file.
    """

    place: str
    values: dict[str, str]

    def text(self, column: str) -> str:
        """The text of a column, never empty.

        Raises:
            TraceError: it is empty.
        """
        value = self.values[column].strip()
        return value or self.refuse(column, "expected a name")

    def number(self, column: str, expected: str) -> float:
        """The number in a column, finite and >= 0.

        Raises:
            TraceError: it is none.
        """
        try:
            value = float(self.values[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0:
            self.refuse(column, f"expected {expected} as a number >= 0")
        return value

    def refuse(self, column: str, expectation: str) -> NoReturn:
        """Say that a column holds something else than was expected."""
        before = list(self.values).index(column)
        at = 1 + sum(len(value) + 1 for value in list(self.values.values())[:before])
        raise TraceError(f"{self.place}:{at}: {column}: {expectation} (got {self.values[column]!r})")


def read_rows(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows of a CSV file whose header holds at least these columns.

    Args:
        path: the file; one that ends in `.gz` is unpacked.
        columns: what the header has to hold, in any order.
        optional: what it may hold; other columns are left alone.

    Raises:
        TraceError: it cannot be read, a column is missing, or a line has too few or too many values.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield from _rows(path, csv.reader(file, strict=True), columns, optional)
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, zlib.error, EOFError) as error:
        raise TraceError(f"{path}: expected CSV as UTF-8 text, packed with gzip if it ends in .gz ({error})") from error


def _rows(path: Path, lines: Iterator[list[str]], columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    line = 0
    try:
        for line, values in enumerate(lines, start=1):
            if line == 1:
                header = _header(path, values, columns, optional)
            elif values:
                if len(values) != len(header):
                    got = ",".join(values)
                    raise TraceError(
                        f"{path}:{line}:1: expected {len(header)} values, {','.join(header)} (got {got!r})"
                    )
                yield Row(f"{path}:{line}", dict(zip(header, values, strict=True)))
    except csv.Error as error:
        raise TraceError(f"{path}:{line + 1}:1: expected CSV: {error}") from error
    if not line:
        raise TraceError(f"{path}:1:1: expected the header {','.join(columns)} (got an empty file)")


def _header(path: Path, values: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> list[str]:
    header = [value.strip() for value in values]
    if missing := [column for column in columns if column not in header]:
        expected = ",".join([*columns, *(f"[{column}]" for column in optional)])
        raise TraceError(
            f"{path}:1:1: expected the header {expected}, without {', '.join(missing)} nothing can be read"
            f" (got {','.join(header)!r})"
        )
    if len(set(header)) < len(header):
        raise TraceError(f"{path}:1:1: expected each column once (got {','.join(header)!r})")
    return header
