"""Which requests are refused because two servers could read them differently. Answers none itself."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import HttpVersion10, HttpVersion11

from proxy.server.refused import RefusedError

if TYPE_CHECKING:
    from aiohttp import web

_AUTHORITY = re.compile(r"https?://[^/?#]+", re.IGNORECASE)
_MOST_BYTES = 2**63 - 1
"""The longest body that Go knows."""
_MOST_DIGITS = len(str(_MOST_BYTES))


def check_head(request: web.BaseRequest) -> None:
    """Check what aiohttp's parser lets pass.

    Raises:
        RefusedError: the body's end is not certain, it is meant for a tunnel, or it expects what is unknown.
    """
    headers, version = request.headers, request.version
    if version not in (HttpVersion11, HttpVersion10):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"keepwarm speaks HTTP/1.1, not {version.major}.{version.minor}")
    if request.method == "CONNECT":
        raise RefusedError(HTTPStatus.BAD_REQUEST, "keepwarm opens no tunnels: it is no HTTP proxy for other servers")
    coding = headers.get("Transfer-Encoding")
    if coding is not None and (coding.lower() != "chunked" or version < HttpVersion11):
        wanted = "chunked, and that in HTTP/1.1 only"
        raise RefusedError(
            HTTPStatus.BAD_REQUEST, f"the HTTP header Transfer-Encoding must be {wanted}, got {coding!r}"
        )
    if len(headers.get("Content-Length", "")) >= _MOST_DIGITS and (request.content_length or 0) > _MOST_BYTES:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the HTTP header Content-Length must be at most {_MOST_BYTES}")
    expected = headers.get("Expect", "")
    if expected and expected.lower() != "100-continue" and version >= HttpVersion11:
        raise RefusedError(HTTPStatus.EXPECTATION_FAILED, f"only 100-continue can be expected, got {expected!r}")


def origin_form(target: str) -> str:
    """Return a request's target without scheme and authority, which proxies are sent (RFC 9112 3.2.2).

    Raises:
        RefusedError: it is a target of another scheme than HTTP.
    """
    if target.startswith("/") or target == "*":
        return target
    authority = _AUTHORITY.match(target)
    if authority is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"an HTTP target must be a path or an http URL, got {target!r}")
    path = target[authority.end() :]
    return path if path.startswith("/") else f"/{path}"
