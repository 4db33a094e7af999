"""What each of Ollama's endpoints is for, which of them name models, and where. Never decides who may call them.

Whatever is not known to be harmless counts as management, and whatever may name a model where it can't be seen counts
as naming one that is not allowed: a new endpoint of Ollama is closed until it stands here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from proxy.domain.access import Group
from proxy.domain.model import Endpoint, canonical

if TYPE_CHECKING:
    from collections.abc import Callable

_RETRIEVE: Final = "/v1/models/"
_READS: Final = frozenset({"/", "/api/version", "/api/tags", "/api/ps", "/v1/models"})
_USES: Final = frozenset({*Endpoint, "/api/show", "/v1/audio/transcriptions"})
_UNLOADS: Final = frozenset({Endpoint.GENERATE, Endpoint.CHAT})
_LISTS: Final = {"/api/tags": "models", "/api/ps": "models", "/v1/models": "data"}
_LISTED_AS: Final = ("name", "model", "id")
_NAMES: Final = frozenset({"model", "name", "from", "source", "destination"})
_NAME_IN_BODY: Final = frozenset(
    {"/api/show", "/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete"},
)
_NAMELESS: Final = frozenset({"/", "/api/version"})


def groups_of(method: str, path: str) -> tuple[Group, ...]:
    """Return what a request may be for; where there are two, its body says which, and the first is the usual one."""
    if method in {"GET", "HEAD"} and (path in _READS or path.startswith(_RETRIEVE)):
        return (Group.USE,)
    if method == "POST" and path in _UNLOADS:
        return (Group.USE, Group.UNLOAD)
    return (Group.USE if method == "POST" and path in _USES else Group.MANAGE,)


def is_list(path: str) -> bool:
    """Tell whether the answer lists models."""
    return path in _LISTS


def names_in_body(path: str) -> bool:
    """Tell whether the JSON body of a request names models, other than to run them."""
    return path in _NAME_IN_BODY


def is_nameless(path: str) -> bool:
    """Tell whether neither request nor answer can name a model."""
    return path in _NAMELESS or path.startswith("/api/blobs/")


def name_in_path(path: str) -> str | None:
    """Return the model that the path names; None: it names none."""
    return path.removeprefix(_RETRIEVE) if path.startswith(_RETRIEVE) else None


def named_models(content: bytes) -> list[str]:
    """Return every model that a JSON body may name to Ollama, as written there.

    Ollama reads keys in any case and of repeated ones the last; here each of them counts.

    Raises:
        ValueError: the bytes are no JSON object, or name no model.
    """
    members: Any = _decode_members(content)
    if not isinstance(members, _Members):
        raise ValueError("the body is no JSON object")  # noqa: TRY004 - one error for all bad bodies
    names = [value for key, value in members if key.casefold() in _NAMES and isinstance(value, str) and value]
    if not names:
        raise ValueError("the body names no model")
    return names


def without_models(path: str, content: bytes, may_name: Callable[[str], bool]) -> bytes:
    """Return the answer that lists models without those that may not be named (by canonical name).

    Raises:
        ValueError: it is no such list.
    """
    answer = json.loads(content)
    listed = answer.get(_LISTS[path]) if isinstance(answer, dict) else None
    if not isinstance(listed, list | None):
        raise ValueError(f"{path} answered no list of models")  # noqa: TRY004 - one error for all bad answers
    if isinstance(answer, dict) and listed is not None:
        answer[_LISTS[path]] = [line for line in listed if _all_allowed(line, may_name)]
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()


def _all_allowed(line: Any, may_name: Callable[[str], bool]) -> bool:  # noqa: ANN401 - JSON
    return isinstance(line, dict) and all(may_name(canonical(str(line[key]))) for key in _LISTED_AS if key in line)


class _Members(list[tuple[str, Any]]):
    """A JSON object with each of its members, repeated keys too."""


def _decode_members(content: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(content.decode(errors="replace"), object_pairs_hook=_Members)
    except RecursionError as error:
        raise ValueError("the body is nested too deeply") from error
