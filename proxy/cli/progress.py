"""A progress bar on standard error for what takes longer than two seconds. Shows nothing before, nothing in a file."""

from __future__ import annotations

import math
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from types import TracebackType

_PATIENCE_SECONDS = 2.0


class Progress:
    """A context whose value is called after each of so many steps."""

    def __init__(self, label: str, steps: int) -> None:
        self._began = time.monotonic()
        self._bar = click.progressbar(length=steps, label=label, file=sys.stderr)
        self._stack = ExitStack()
        self._unseen = 0
        self._shown = False
        self._patience_seconds = _PATIENCE_SECONDS if sys.stderr.isatty() else math.inf

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the line behind."""
        self._stack.close()

    def __call__(self) -> None:
        """Count a step."""
        self._unseen += 1
        if not self._shown and time.monotonic() - self._began > self._patience_seconds:
            self._stack.enter_context(self._bar)
            self._shown = True
        if self._shown:
            self._bar.update(self._unseen)
            self._unseen = 0
