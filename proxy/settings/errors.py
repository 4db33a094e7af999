"""What is wrong with the settings, and where it stands. Never decides whether something is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import yaml


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a value was written: a line and column of a file (from 1), or the name of an environment variable."""

    origin: str
    line: int = 0
    column: int = 0

    @classmethod
    def of(cls, origin: str, mark: yaml.Mark) -> Self:
        """Return the place of PyYAML's mark, which counts from 0."""
        return cls(origin, mark.line + 1, mark.column + 1)

    @classmethod
    def after(cls, origin: str, text: str) -> Self:
        """Return the place of what follows this beginning of a file."""
        return cls(origin, text.count("\n") + 1, len(text) - text.rfind("\n"))

    def __str__(self) -> str:
        return f"{self.origin}:{self.line}:{self.column}" if self.line else self.origin


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong: place, key, what was expected, and what stands there."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class SettingsError(Exception):
    """The settings cannot be used.

    Attributes:
        problems: every problem as one complete line, in the order of the file.
    """

    def __init__(self, *problems: Problem) -> None:
        self.problems = tuple(str(problem) for problem in sorted(problems))
        super().__init__("\n".join(self.problems))
