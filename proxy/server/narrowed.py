"""What a client sees for which not every model exists: the others are unknown, and absent from every list.

Whatever may name a model where keepwarm can't see it is refused.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web

from proxy.domain.model import canonical
from proxy.server.answer import SERVER
from proxy.server.refused import RefusedError
from proxy.server.relay import UpstreamUnreachableError
from proxy.upstream.endpoints import is_list, is_nameless, name_in_path, named_models, without_models

if TYPE_CHECKING:
    from proxy.domain.access import Client
    from proxy.server.gate import Visit
    from proxy.server.relay import Relay

_LONGEST_LIST: Final = 8 * 2**20


def check_names(client: Client, path: str, content: bytes | None) -> None:
    """Refuse a request that runs no model, but names one that does not exist for the client.

    Args:
        client: who asks.
        path: of the request.
        content: its body, if `names_in_body(path)`.

    Raises:
        RefusedError: it does, or may.
    """
    in_path = name_in_path(path)
    if content is not None:
        names = _named(content)
    elif in_path is not None:
        names = [in_path]
    elif is_list(path) or is_nameless(path):
        return
    else:
        raise RefusedError(
            HTTPStatus.FORBIDDEN, "keepwarm can't see which model this is about, and not every model is yours to use"
        )
    for name in map(canonical, names):
        if not client.may_name(name):
            raise _unknown(name) if path == "/api/show" or in_path is not None else _forbidden()


async def listed(relay: Relay, request: web.BaseRequest, path: str, visit: Visit) -> web.Response:
    """Relay a request for a list of models, without those that do not exist for the client.

    Raises:
        UpstreamUnreachableError: answer the client with 502.
        ClientLeftError: nothing more can be answered.
    """
    status, headers, content = await relay.whole(request, visit.dropped, _LONGEST_LIST)
    if status == HTTPStatus.OK and content:
        try:
            content = without_models(path, content, visit.client.may_name)
        except ValueError as error:
            raise UpstreamUnreachableError(f"keepwarm can't read Ollama's list of models: {error}") from error
    headers.setdefault("Server", SERVER)
    return web.Response(status=status, headers=headers, body=content)


def _named(content: bytes) -> list[str]:
    try:
        return named_models(content)
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"keepwarm can't tell which model this is about: {error}") from error


def _unknown(name: str) -> RefusedError:
    return RefusedError(HTTPStatus.NOT_FOUND, f"model '{name}' not found")


def _forbidden() -> RefusedError:
    return RefusedError(HTTPStatus.FORBIDDEN, "a model that this names is not yours to manage (access.allow)")
