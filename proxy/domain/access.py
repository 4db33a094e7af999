"""Who asks, and what they may do. Knows no request, no path and no key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import translate
from typing import Final

from proxy.domain.settings import with_tag

KEYLESS: Final = "keyless"
"""The name of all who send no key."""


class Group(StrEnum):
    """What a request is for.

    USE: running models, and reading what there is. MANAGE: pulling, creating, deleting models, and all that is not
    known to be anything else. UNLOAD: an empty request with keep_alive 0, as `ollama stop` sends it.
    """

    USE = "use"
    MANAGE = "manage"
    UNLOAD = "unload"


EVERYTHING: Final = frozenset(Group)


@dataclass(frozen=True, slots=True)
class Client:
    """One who asks.

    Attributes:
        name: the name of its key, or KEYLESS.
        groups: what it may do.
        models: patterns of the models it may name, written as in `models` of the settings; None: all of them.
    """

    name: str
    groups: frozenset[Group]
    models: tuple[str, ...] | None = None
    _pattern: re.Pattern[str] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Compile the patterns; no pattern at all matches nothing."""
        if self.models is not None:
            pattern = "|".join(translate(with_tag(model)) for model in self.models) or r"(?!)"
            object.__setattr__(self, "_pattern", re.compile(pattern))

    @property
    def is_limited(self) -> bool:
        """Whether there is anything that it may not do."""
        return self.models is not None or self.groups != EVERYTHING

    def may_name(self, model: str) -> bool:
        """Tell whether it may use or manage this model (canonical name)."""
        return self._pattern is None or self._pattern.match(model) is not None
