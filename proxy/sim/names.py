"""Model names as Ollama reads them (`types/model/name.go`, `internal/modelref`); knows no models."""

from __future__ import annotations

import re
from typing import NamedTuple

_HOST, _NAMESPACE, _TAG = "registry.ollama.ai", "library", "latest"
_PARTS = (
    re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"),
    re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"),
    re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
    re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
)


class InvalidNameError(ValueError):
    """The name is not one of Ollama's."""


class ModelName(NamedTuple):
    """A model's full name."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def key(self) -> str:
        """The same for all spellings of one name."""
        return f"{self.full}".lower()

    @property
    def full(self) -> str:
        """The name with nothing left out."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def shortest(self) -> str:
        """The name as Ollama shows it: without registry and library, always with the tag."""
        if self.host.lower() != _HOST:
            return self.full
        if self.namespace.lower() != _NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"


def is_cloud(raw: str) -> bool:
    """Whether the name asks for Ollama's cloud: `…:cloud`, or a tag that ends in `-cloud`."""
    _, colon, suffix = raw.strip().rpartition(":")
    suffix = suffix.strip().lower()
    return bool(colon) and (suffix == "cloud" or ("/" not in suffix and suffix.endswith("-cloud")))


def parse_name(raw: str) -> ModelName:
    """The full name that `raw` stands for.

    Raises:
        InvalidNameError: It has characters that no name may have, or an empty part.
    """
    rest, tag = raw.strip(), _TAG
    if rest.lower().endswith(":local"):
        rest = rest[: -len(":local")]
    if rest.rfind(":") > rest.rfind("/"):
        rest, _, tag = rest.rpartition(":")
    rest, _, model = rest.rpartition("/")
    host, _, namespace = rest.rpartition("/")
    name = ModelName(host.rpartition("://")[2] or _HOST, namespace or _NAMESPACE, model, tag)
    if not all(pattern.fullmatch(part) for pattern, part in zip(_PARTS, name, strict=True)):
        raise InvalidNameError(raw)
    return name
