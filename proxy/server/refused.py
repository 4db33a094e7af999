"""Why keepwarm itself answers a request, instead of Ollama."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from http import HTTPStatus

RETRY_SECONDS: Final = 5
"""How soon one who came too often or too many may try again."""


class RefusedError(Exception):
    """The request goes no further; the text is for the client. It never holds a key, a prompt or another's model.

    Attributes:
        status: what the client gets.
        headers: what it gets besides.
    """

    def __init__(self, status: HTTPStatus, message: str, **headers: str) -> None:
        """`headers`: by their names with `_` in place of `-`."""
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
