"""Who may use the admin port: whoever has the token; where there is none, programs that reach it, but no web page.

A browser on this machine carries out what strangers' pages ask of it. They can't send the token; where there is none,
the Host that a rebound name leaves behind and the headers that browsers add to posts give them away.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import BasicAuth, web

from proxy.server.gate import is_local_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Middleware

_OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
_HARMLESS: Final = frozenset({"GET", "HEAD"})


def guard(token_sha256: Callable[[], str | None], *, needs_no_token: bool) -> Middleware:
    """Return the middleware of the admin port.

    Args:
        token_sha256: digest of the token in lower-case hexadecimal digits; None: there is none.
        needs_no_token: whoever reaches the port may use it where there is no token.
    """

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        response = _refusal(request, token_sha256(), needs_no_token=needs_no_token) or await handler(request)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return check


def _refusal(request: web.Request, digest: str | None, *, needs_no_token: bool) -> web.Response | None:
    if request.method not in _HARMLESS and _comes_from_another_site(request):
        return _error(HTTPStatus.FORBIDDEN, "a web page of another site may not do this")
    if digest is None and needs_no_token:
        if not is_local_name(request.headers.get("Host", "")):
            return _error(
                HTTPStatus.FORBIDDEN,
                "the Host of this request is no name of this machine: use 127.0.0.1 or localhost, or set "
                "admin.token_sha256",
            )
    elif request.path not in _OPEN_PATHS and not _has_token(request, digest):
        return _error(
            HTTPStatus.UNAUTHORIZED,
            "the admin port asks for a token: send it as 'Authorization: Bearer TOKEN' (keepwarm's commands: --token "
            "or KEEPWARM_ADMIN_TOKEN)",
        )
    return None


def _has_token(request: web.Request, digest: str | None) -> bool:
    given = sha256(_token(request.headers.get("Authorization", "")).encode("utf-8", "surrogateescape")).hexdigest()
    return digest is not None and hmac.compare_digest(given, digest)


def _token(authorization: str) -> str:
    """Return what came as Bearer, or as the password that a browser asks for where it gets a challenge."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    try:
        return str(BasicAuth.decode(authorization, "utf-8").password)
    except ValueError:
        return ""


def _comes_from_another_site(request: web.Request) -> bool:
    site, origin, host = (request.headers.get(name) for name in ("Sec-Fetch-Site", "Origin", "Host"))
    is_foreign = origin is not None and origin not in (f"http://{host}", f"https://{host}")
    return is_foreign or site not in (None, "same-origin", "none")


def _error(status: HTTPStatus, message: str) -> web.Response:
    body = msgspec.json.encode({"error": message})
    response = web.Response(status=status, body=body, content_type="application/json")
    if status is HTTPStatus.UNAUTHORIZED:
        for scheme in ("Bearer", "Basic"):  # a browser shows a form for the second: any name, the token as password
            response.headers.add("WWW-Authenticate", f'{scheme} realm="keepwarm"')
    return response
