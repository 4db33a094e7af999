"""`make faults`: runs the matrix and prints the table with its results; exit status as pytest's."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.scene import Phase
from tests.faults.table import TABLE, Absent, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

_CELL = re.compile(r"\[(?P<fault>.*) \| (?P<phase>.*)\]$")


class Results:
    """Notes how each cell ended."""

    def __init__(self) -> None:
        self.failed: dict[tuple[str, str], bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for each part of each test."""
        cell = _CELL.search(report.nodeid)
        if cell:
            key = (cell["fault"], cell["phase"])
            self.failed[key] = self.failed.get(key, False) or not report.passed

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Called by pytest at the end."""
        for line in self.table():
            terminalreporter.write_line(line)

    def table(self) -> Iterator[str]:
        """Yield the lines of the table, and why cells are absent."""
        reasons: list[str] = []
        rows = [["", *Phase], *([row.fault, *(self._cell(row, phase, reasons) for phase in Phase)] for row in TABLE)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield ""
        yield from (f"({number}) {reason}" for number, reason in enumerate(reasons, 1))
        yield "whole: 200 and all of it; cut: breaks off in mid-answer; dropped: no answer began; left: by the client;"
        yield "408, 500, 502, 503: an error in the words of the API. All else as before within 2 s, without a restart."

    def _cell(self, row: Row, phase: Phase, reasons: list[str]) -> str:
        expected = row.cells[phase]
        if isinstance(expected, Absent):
            if expected.reason not in reasons:
                reasons.append(expected.reason)
            return f"({reasons.index(expected.reason) + 1})"
        failed = self.failed.get((row.fault, phase))
        outcome = " or ".join(expected.split())
        return f"{outcome} {'not run' if failed is None else 'FAILED' if failed else 'ok'}"


if __name__ == "__main__":
    sys.exit(pytest.main([str(Path(__file__).parent), "-q", *sys.argv[1:]], plugins=[Results()]))
