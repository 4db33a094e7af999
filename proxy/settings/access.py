"""The section `access`: who may do what. Knows names and digests of keys, never a key."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import AfterValidator, PlainSerializer, SerializerFunctionWrapHandler, model_serializer, model_validator

from proxy.domain.access import EVERYTHING, KEYLESS, Client, Group
from proxy.settings.sections import Section, conflict, key
from proxy.settings.values import ClientName, Digest, Groups, ModelPatterns, Switch, Weight

OTHER = "other"
_BY_NAME = (AfterValidator(MappingProxyType), PlainSerializer(dict))


class Allow(Section):
    """What one client may do; a key that is left out has its default."""

    endpoints: Groups | None = key(
        None,
        "Any of use (run models, see what there is), manage (pull, push, create, copy, delete, blobs, and whatever\n"
        "keepwarm does not know), unload (as `ollama stop`). Default: [use]. For keyless: all three where\n"
        "server.listen is on loopback or access.keys is empty, else [].",
    )
    models: ModelPatterns | None = key(
        None, "Patterns of the models that exist for it, written as under `models`; default: every model."
    )

    @model_serializer(mode="wrap")
    def _only_what_is_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if value is not None}


class Access(Section):
    """Who may do what; docs/access.md shows how. Without keys, whoever reaches the port may do everything."""

    keys: Annotated[Mapping[ClientName, Digest], *_BY_NAME] = key(
        {},
        "Name of each client, and the SHA-256 of its key, as `keepwarm key new NAME` prints it. Clients send the key\n"
        "as `Authorization: Bearer …` or `x-api-key: …`; a wrong one gets a 401.",
    )
    allow: Annotated[Mapping[ClientName, Allow], *_BY_NAME] = key(
        {}, "What a client may do: name from `keys`, or keyless for all who send no key; then endpoints, models."
    )
    weights: Annotated[Mapping[ClientName, Weight], *_BY_NAME] = key(
        {}, "How much worse it is if this client waits than if others do: name as in `allow`, then a number; default 1."
    )
    forward_key: Switch = key(False, "true: Ollama gets to see the client's key; false: it is taken off.")  # noqa: FBT003 - the value in YAML

    @model_validator(mode="before")
    @classmethod
    def _no_content_means_none(cls, data: object) -> object:
        maps = ("keys", "allow", "weights")
        return {k: {} if v is None and k in maps else v for k, v in data.items()} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name in (KEYLESS, OTHER):
            if name in self.keys:
                raise conflict(f"expected another name: '{name}' has a meaning of its own", ("keys", name))
        for section in ("allow", "weights"):
            for name in getattr(self, section):
                if name != KEYLESS and name not in self.keys:
                    raise conflict(f"expected {KEYLESS} or a name from access.keys (got '{name}')", (section, name))
        return self

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        names: dict[str, str] = {}
        for name, digest in self.keys.items():
            if names.setdefault(digest, name) != name:
                raise conflict(f"expected a key of its own (got that of '{names[digest]}')", ("keys", name))
        return self

    def client(self, name: str, *, on_loopback: bool) -> Client:
        """Return what a client may do: one with a key, or KEYLESS, where keepwarm listens on loopback or not."""
        allow = self.allow.get(name, Allow())
        usual = frozenset({Group.USE})
        if name == KEYLESS:
            usual = EVERYTHING if on_loopback or not self.keys else frozenset()
        return Client(name, usual if allow.endpoints is None else allow.endpoints, allow.models)
