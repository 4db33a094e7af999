"""Which headers travel: all but those that belong to one connection (RFC 9110 7.6.1) and Host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def end_to_end(headers: Mapping[str, str], *dropped: str) -> CIMultiDict[str]:
    """Return the headers that go on, repeated ones and their order kept, without `dropped` (lower case)."""
    skipped = _HOP_BY_HOP.union(dropped)
    if "Connection" in headers:
        named = ",".join(value for key, value in headers.items() if key.lower() == "connection")
        skipped = skipped.union(name.strip().lower() for name in named.split(","))
    return CIMultiDict([(key, value) for key, value in headers.items() if key.lower() not in skipped])
