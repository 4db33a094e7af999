"""HTTPS on the clients' port: a certificate that is replaced while connections are open. Never keeps a bad one.

What is new applies to new connections. Files that can't be used leave the old certificate in place, and say so.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Final

from proxy.server.background import in_background

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path

_LOOK_SECONDS: Final = 2.0
_log: Final = logging.getLogger(__name__)

Identity = tuple[tuple[int, int, int, int], ...]


class CertificateError(Exception):
    """The files can't be used; the text names them and the reason."""


class Certificate:
    """A certificate and its key; reads both when it is made, and blocks while it does.

    Attributes:
        context: what a listener needs; it stays the same when the certificate changes.

    Raises:
        CertificateError: they can't be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._seen = self._identity()
        self.context = self._current = self._load()
        self.context.sni_callback = self._choose

    async def watch(self) -> None:
        """Look every two seconds whether the files changed, for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Read the files again if they changed; blocks."""
        seen = self._identity()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._current = self._load()
        except CertificateError as error:
            _log.error("%s; the certificate before stays in use", error)
        else:
            _log.info("server.tls: the certificate in %s is in use now", self._files[0])

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(*self._files, password=_no_passphrase)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            certificate, key = self._files
            reason = error.strerror or error if isinstance(error, OSError) else error
            text = f"server.tls: certificate {certificate} and key {key} can't be used: {reason}"
            raise CertificateError(text) from error
        return context

    def _identity(self) -> Identity:
        """Return what changes when the files do; a missing one counts as nothing."""
        found = []
        for file in self._files:
            try:
                status = file.stat()
            except OSError:
                continue
            found.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        return tuple(found)


def _no_passphrase() -> str:
    raise ValueError("the key needs a passphrase, and nobody is there to type it")


async def open_certificate(stack: AsyncExitStack, certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Return what a listener needs, kept up to date until the stack is closed; None where there are no such files.

    Raises:
        CertificateError: they can't be used.
    """
    if certificate is None or key is None:
        return None
    opened = await asyncio.to_thread(Certificate, certificate, key)
    in_background(stack, opened.watch())
    return opened.context
