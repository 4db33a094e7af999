"""The settings that decide who stays, as they are written in YAML, for the page. Never shows what may be a secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from proxy.settings.schema import Settings

_SHOWN: Final = (
    *("upstream", "policy", "memory", "keep_alive", "client_keep_alive", "num_ctx", "max_wait", "residency", "models"),
)


def in_force(settings: Settings) -> dict[str, str]:
    """Return key and value of everything that decisions depend on: 'memory.price' → '5ms'."""
    values = settings.model_dump(mode="json", include=set(_SHOWN))
    lines: dict[str, str] = {}
    for name in _SHOWN:
        _flatten(name, values[name], lines)
    _flatten("access.weights", dict(settings.access.weights), lines)
    return lines


def _flatten(key: str, value: Any, lines: dict[str, str]) -> None:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        for name, inner in value.items():
            _flatten(f"{key}.{name}", inner, lines)
    elif value is not None:  # None: not said, in a rule for some models
        text = str(value).lower() if isinstance(value, bool) else str(value)
        lines[key] = re.sub(r"//[^/]*@", "//…@", text)
