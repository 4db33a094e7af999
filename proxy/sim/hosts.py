"""Which Host headers Ollama answers to when it listens on loopback (`server/routes.go`); asks no name server."""

from __future__ import annotations

import ipaddress
import socket

_LOCAL_ENDINGS = (".localhost", ".local", ".internal")


def host_allowed(header: str) -> bool:
    """Whether a request with this Host header is answered; 403 otherwise."""
    host = _without_port(header).lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        known = host in ("", "localhost", socket.gethostname().lower())
        return known or host.endswith(_LOCAL_ENDINGS)
    return address.is_loopback or address.is_private or address.is_unspecified


def _without_port(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header if header.count(":") > 1 else header.partition(":")[0]
