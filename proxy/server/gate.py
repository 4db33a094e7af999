"""Who a request is from, and whether that client may ask for such a thing at all. Never reads a body.

Keys are compared by their digests, each of them whatever the others gave, in constant time. Where no key is set, all
this costs a look at one or two headers.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from proxy.domain.access import EVERYTHING, KEYLESS, Client, Group
from proxy.server.refused import RefusedError
from proxy.upstream.endpoints import groups_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from proxy.settings import Access

_KEY_HEADERS: Final = ("authorization", "x-api-key")
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
_LOCAL_DOMAINS: Final = (".localhost", ".local", ".internal", ".svc")
_LONGEST_HOST: Final = 255
_ASKING: Final = "keepwarm asks for a key: send it as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'"


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that may go on.

    Attributes:
        client: who it is from.
        dropped: headers (lower case) that Ollama does not get to see.
    """

    client: Client
    dropped: tuple[str, ...] = ()


_ANYONE: Final = Visit(Client(KEYLESS, EVERYTHING))


class Gate:
    """Knows the clients' keys by their digests."""

    def __init__(self, access: Access, *, on_loopback: bool) -> None:
        """`on_loopback`: only this machine reaches the port."""
        self._on_loopback = on_loopback
        self.update(access)

    def update(self, access: Access) -> None:
        """Go on with these settings."""
        self._clients = [
            (digest.encode(), access.client(name, on_loopback=self._on_loopback))
            for name, digest in access.keys.items()
        ]
        self._keyless = access.client(KEYLESS, on_loopback=self._on_loopback)
        said = access.allow.get(KEYLESS)
        self._trusts_neighbours = said is not None and said.endpoints is not None
        self._taken_off = () if access.forward_key else _KEY_HEADERS
        self._is_open = not self._clients and not self._keyless.is_limited

    def visit(self, request: web.BaseRequest, path: str) -> Visit:
        """Return who the request is from.

        Raises:
            RefusedError: it may not go on.
        """
        headers = request.headers
        if self._is_open and "Origin" not in headers:
            if self._on_loopback:
                _require_local_name(headers)
            return _ANYONE
        keys = _keys(headers) if self._clients else []
        if keys:
            client = self._client(keys)
        else:
            if self._on_loopback:
                _require_local_name(headers)
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in headers:
                return _ANYONE  # a browser asks before it sends the key, and Ollama answers
            client = self._without_key(headers)
        groups = groups_of(request.method, path)
        if client.groups.isdisjoint(groups):
            raise _refused(client, groups[0])
        return Visit(client, (*(self._taken_off if keys else ()), *_unseen_origin(headers, is_known=bool(keys))))

    def _client(self, keys: list[str]) -> Client:
        digests = [sha256(key.encode("utf-8", "surrogateescape")).hexdigest().encode() for key in keys]
        found = [client for known, client in self._clients for digest in digests if hmac.compare_digest(known, digest)]
        if not found:
            raise _unauthorized("keepwarm does not know this key")
        return found[0]

    def _without_key(self, headers: Mapping[str, str]) -> Client:
        """What came through another proxy on this machine is not from this machine, unless the settings say so."""
        is_forwarded = self._on_loopback and any(name in headers for name in _FORWARDED)
        if self._clients and is_forwarded and not self._trusts_neighbours:
            raise _unauthorized(_ASKING)
        return self._keyless


def require(client: Client, group: Group, model: str) -> None:
    """Refuse a client that may not do this with this model (canonical name).

    Raises:
        RefusedError: it may not.
    """
    if group not in client.groups:
        raise _refused(client, group)
    if not client.may_name(model):
        raise RefusedError(HTTPStatus.FORBIDDEN, f"{_named(client)} may not use this model (access.allow)")


def _refused(client: Client, group: Group) -> RefusedError:
    """Return the error of one who may not do such a thing."""
    if client.name == KEYLESS:
        return _unauthorized(_ASKING)
    what = {Group.USE: "use models", Group.MANAGE: "manage models", Group.UNLOAD: "unload models"}[group]
    return RefusedError(HTTPStatus.FORBIDDEN, f"{_named(client)} may not {what} (access.allow)")


def _named(client: Client) -> str:
    return "who sends no key" if client.name == KEYLESS else f"the key of '{client.name}'"


def _unauthorized(message: str) -> RefusedError:
    return RefusedError(HTTPStatus.UNAUTHORIZED, message, WWW_Authenticate='Bearer realm="keepwarm"')


def _keys(headers: Mapping[str, str]) -> list[str]:
    """Return the keys that came, at most one a header. Other schemes than Bearer are for somebody else."""
    scheme, _, bearer = headers.get("Authorization", "").partition(" ")
    keys = (bearer if scheme.lower() == "bearer" else "", headers.get("X-Api-Key", ""))
    return [key.strip() for key in keys if key.strip()]


def _unseen_origin(headers: Mapping[str, str], *, is_known: bool) -> tuple[str, ...]:
    """Drop an Origin that is the client's own Host, unless that may be a rebound name.

    Ollama takes such a request for no cross-site one. It can't see that itself, for it gets a Host of its own.
    """
    origin, host = headers.get("Origin"), headers.get("Host", "")
    is_own = origin is not None and origin in (f"http://{host}", f"https://{host}")
    return ("origin",) if is_own and (is_known or _leads_here(host)) else ()


def _require_local_name(headers: Mapping[str, str]) -> None:
    if not _leads_here(headers.get("Host", "")):
        raise RefusedError(
            HTTPStatus.FORBIDDEN,
            "keepwarm listens for this machine only, and the Host of this request is no name of it: "
            "use 127.0.0.1 or localhost, or send a key (docs/access.md)",
        )


def _leads_here(host: str) -> bool:
    return len(host) <= _LONGEST_HOST and is_local_name(host)


@lru_cache(maxsize=256)
def is_local_name(host: str) -> bool:
    """Tell whether a Host header can't be a name that a web site made point to this machine (DNS rebinding).

    Nobody can register an address, a name without a dot, or one of the local domains. Ollama has such a rule itself
    (routes.go, allowedHost), but behind a proxy it does not see the client's Host.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    name = name.removeprefix("[").removesuffix("]").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(_LOCAL_DOMAINS) or name == socket.gethostname().lower()
    return True
