"""Which headers travel: all but those that belong to one connection (RFC 9110 7.6.1) and Host; and which are added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.domain.effects import Forward

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


def told(forward: Forward, waited_seconds: float) -> dict[str, str]:
    """Return what a client is told beside its answer: what its request met, how long it waited, what keep_alive it got.

    All of it is known before the answer begins, so that no answer is held back for it.
    """
    return {
        "X-Keepwarm-Request": str(forward.request_id),
        "X-Keepwarm-Outcome": forward.outcome,
        "X-Keepwarm-Waited": f"{waited_seconds:.3f}",
        "X-Keepwarm-Keep-Alive": str(forward.keep_alive),
    }
