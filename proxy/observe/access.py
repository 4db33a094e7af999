"""The access log: one line per request that is over. Never logs a query, a header, a prompt or an answer.

It is silent unless `log.access` asks for it; a text that a client made up is cut, and can't begin a line of its own.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from proxy.domain.access import KEYLESS
from proxy.domain.events import Ending, PassthroughEnded
from proxy.observe.decisions import keep_alive_words
from proxy.observe.log import ACCESS, FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.domain.events import Happening
    from proxy.domain.timeline import FinishedRequest

_log: Final = logging.getLogger(ACCESS)
_LONGEST_TEXT: Final = 200


def log_access(happening: Happening, finished: Iterable[FinishedRequest]) -> None:
    """Log the requests that are over with this happening; `finished` is what `Timelines` found to be."""
    if not _log.isEnabledFor(logging.INFO):
        return
    if isinstance(happening, PassthroughEnded):
        _passthrough(happening)
    for request in finished:
        _model_request(request)


def _passthrough(ended: PassthroughEnded) -> None:
    path = _short(ended.path)
    fields = {
        "method": ended.method,
        "path": path,
        "ending": str(ended.ending),
        "status": ended.status,
        "e2e_seconds": round(ended.seconds, 6),
    }
    text = f"{ended.method} {path} {_result(ended.status, ended.ending)}, all {ended.seconds:.3f} s"
    _log.info("%s", text, extra={FIELDS: fields})


def _model_request(request: FinishedRequest) -> None:
    forward, figures, model = request.forward, request.figures, _short(request.model)
    first_byte = "" if request.ttft_seconds is None else f", first byte {request.ttft_seconds:.3f} s"
    kept = "" if forward is None else f", keep_alive {keep_alive_words(forward.keep_alive)}"
    fields = {
        "request_id": request.request_id,
        "method": "POST",
        "path": str(request.endpoint),
        "model": model,
        "client": request.client,
        "outcome": str(request.outcome),
        "ending": str(request.ending),
        "status": request.status,
        "wait_seconds": round(request.wait_seconds, 6),
        "ttft_seconds": None if request.ttft_seconds is None else round(request.ttft_seconds, 6),
        "e2e_seconds": round(request.e2e_seconds, 6),
        "keep_alive": None if forward is None else forward.keep_alive,
        "prompt_tokens": figures.prompt_tokens,
        "generated_tokens": figures.generated_tokens,
    }
    text = (
        f"request {request.request_id}: POST {request.endpoint} {model}{_by(request.client)} "
        f"{_result(request.status, request.ending)} "
        f"{request.outcome}, waited {request.wait_seconds:.3f} s{first_byte}, all {request.e2e_seconds:.3f} s{kept}"
    )
    _log.info("%s", text, extra={FIELDS: fields})


def _by(client: str) -> str:
    """Who asked; nothing where nobody has a key."""
    return "" if client == KEYLESS else f" by {client}"


def _result(status: int, ending: Ending) -> str:
    return str(status) if ending is Ending.ANSWERED else ending


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
