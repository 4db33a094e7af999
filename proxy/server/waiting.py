"""How many requests of each client wait for a model: nobody fills the memory, or the queue, for all others."""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from proxy.server.refused import RETRY_SECONDS, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Waiting:
    """Counts the requests that wait, by client."""

    def __init__(self, most: Callable[[], int]) -> None:
        """`most`: how many requests of one client may wait at once, >= 1."""
        self._most = most
        self._counts: dict[str, int] = {}

    def check(self, client: str) -> None:
        """Raise RefusedError if the client has as many waiting as it may have."""
        if self._counts and self._counts.get(client, 0) >= self._most():
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self._counts[client]} requests of this client wait for a model already, try again later "
                "(keepwarm's limits.waiting)",
                Retry_After=str(RETRY_SECONDS),
            )

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Count one more while the context is open."""
        self._counts[client] = self._counts.get(client, 0) + 1
        try:
            yield
        finally:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]
