"""Asks a running keepwarm's admin port, for the command line. Says plainly when something else answers, or nothing."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

_ANSWER_SECONDS = 10


class AdminError(Exception):
    """There is no answer to show; the text says where was asked and what to do."""


def ask(admin: str, path: str, expected: str, token: str | None = None) -> dict[str, Any]:
    """Return the JSON object at the path, which has the key `expected`; the token goes nowhere else.

    Raises:
        AdminError: nothing answers, something else does, or keepwarm says that there is no such thing.
    """
    try:
        request = urllib.request.Request(admin.rstrip("/") + path)  # noqa: S310 - as the user says
        if token is not None:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - as the user says
            found = _decoded(answer.read())
    except urllib.error.HTTPError as error:
        found = _decoded(error.read())
        if isinstance(found, dict) and isinstance(found.get("error"), str):
            raise AdminError(found["error"]) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AdminError(f"keepwarm's admin port does not answer at {admin}: {error}. Is it running?") from error
    if not isinstance(found, dict) or expected not in found:
        raise AdminError(f"what answers at {admin} is not keepwarm's admin port (settings: admin.listen)")
    return found


def _decoded(content: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(content)
    except ValueError:
        return None
