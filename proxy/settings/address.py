"""Addresses: where keepwarm listens, and where Ollama is, in every form that Ollama itself accepts.

Never looks a name up and never connects.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

DEFAULT_UPSTREAM: Final = "http://127.0.0.1:11434"
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_DEFAULT_PORTS: Final = {"": "11434", "http": "80", "https": "443"}
_HIGHEST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; host '' is every interface, port 0 any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read 'host:port', ':port' or '[ipv6]:port'.

        Raises:
            ValueError: The text is no such address.
        """
        host, colon, port = text.rpartition(":")
        is_ambiguous = ":" in host and not host.startswith("[")
        if not colon or not port or is_ambiguous:
            raise ValueError(f"address must be host:port, got {text!r}")
        return cls(_host(host) if host else "", _port(port))

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        return _name(self.host) == "localhost"

    def overlaps(self, other: Address) -> bool:
        """Tell whether the two cannot be listened on at the same time."""
        if self.port != other.port or self.port == 0:
            return False
        return _anywhere(self.host) or _anywhere(other.host) or _name(self.host) == _name(other.host)

    def receives(self, upstream: str) -> bool:
        """Tell whether a request to this URL would come in here: a proxy in front of itself."""
        url = urlsplit(upstream)
        if not self.port or url.port != self.port:
            return False
        target = _name(url.hostname or "")
        return target == _name(self.host) or (_anywhere(self.host) and target == _name("localhost"))


def upstream_url(text: str) -> str:
    """Return the URL to reach Ollama at, from whatever OLLAMA_HOST may hold (its envconfig.ConnectableHost).

    Args:
        text: host, host:port, :port, an IPv6 address with or without brackets, any of them after http:// or https://
            and before a path. An unspecified address (0.0.0.0, ::) becomes the loopback one; the port is 11434 where
            neither the text nor its scheme says one.

    Returns:
        scheme://host:port, with the path if there is one, without a slash at the end.

    Raises:
        ValueError: The text is no such address.
    """
    if text == "ollama.com":
        return "https://ollama.com:443"  # as Ollama's own client does
    scheme, separator, rest = text.rpartition("://")
    if scheme not in _DEFAULT_PORTS or (separator and not scheme):
        raise ValueError(f"scheme must be http or https, got {scheme!r}")
    hostport, slash, path = rest.partition("/")
    host, port = _split(hostport)
    if re.search(r"[?#\s]", path):
        raise ValueError(f"path must be plain, got {path!r}")
    host = _connectable(_host(host)) if host else "127.0.0.1"
    number = _port(port or _DEFAULT_PORTS[scheme])
    return f"{scheme or 'http'}://{_bracketed(host)}:{number}{slash}{path}".rstrip("/")


def _split(hostport: str) -> tuple[str, str]:
    """Split as Go's net.SplitHostPort, taking an IPv6 address without a port for the host that it is."""
    if hostport.count(":") > 1 and (not hostport.startswith("[") or hostport.endswith("]")):
        return hostport, ""
    host, _, port = hostport.partition(":") if not hostport.startswith("[") else hostport.rpartition(":")
    return host, port


def _host(text: str) -> str:
    """Return a host name as it is, an IPv6 address without its brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        return str(ipaddress.IPv6Address(bare))  # raises a ValueError of its own
    if bare != text or not _HOST.fullmatch(bare):
        raise ValueError(f"host must be a name or an address, got {text!r}")
    return bare


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > _HIGHEST_PORT:
        raise ValueError(f"port must be 0 to {_HIGHEST_PORT}, got {text!r}")
    return int(text)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _connectable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised, not bound


def _anywhere(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")  # noqa: S104 - recognised, not bound


def _name(host: str) -> str:
    """Return one name for all that is this machine's loopback."""
    is_loopback = host == "::1" or host.startswith("127.") or host.lower() == "localhost"
    return "localhost" if is_loopback else host.lower()
