"""Metric labels whose number is bounded, and quick access to labelled metrics. Never lets a client make up a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from proxy.domain.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OTHER: Final = "other"

_PASSTHROUGH_PATHS: Final = frozenset(Endpoint) | {
    "/",
    "/api/copy",
    "/api/create",
    "/api/delete",
    "/api/ps",
    "/api/pull",
    "/api/push",
    "/api/show",
    "/api/tags",
    "/api/version",
    "/v1/models",
}
_PASSTHROUGH_FOLDERS: Final = ("/api/blobs", "/v1/models")


def path_class(path: str) -> str:
    """Return the label of a request's path: Ollama's own paths, without digests and model names, or `other`."""
    if path in _PASSTHROUGH_PATHS:
        return str(path)
    return next((folder for folder in _PASSTHROUGH_FOLDERS if path.startswith(folder + "/")), OTHER)


class LabelNames:
    """The names (of models, of clients) that have a label of their own: the first `most`; the rest share `other`."""

    def __init__(self, most: int, begin: Callable[[str], None] | None = None) -> None:
        """`most` >= 0. No name is ever taken back: counters must not jump. `begin` is told each label once."""
        self._most = most
        self._names: set[str] = set()
        self._begin = begin

    def label(self, name: str, *, known: bool = True) -> str:
        """Return the label for a name; a model that Ollama does not know gets no label of its own."""
        if name in self._names:
            return name
        if not known or len(self._names) - (OTHER in self._names) >= self._most:
            name = OTHER
        if name not in self._names:
            self._names.add(name)
            if self._begin is not None:
                self._begin(name)
        return name


_Child = TypeVar("_Child")
_Child_co = TypeVar("_Child_co", covariant=True)


class Labelled(Protocol[_Child_co]):
    """A metric that has labels."""

    def labels(self, *values: str) -> _Child_co:
        """Return its child with these label values."""


class Children(Generic[_Child]):
    """A labelled metric whose children are looked up once: `.labels()` costs three times a cached child."""

    def __init__(self, metric: Labelled[_Child], together: Iterable[str] = ()) -> None:
        """Wrap a metric.

        `together`: values of the last label whose children all begin with the first one, at 0: what begins with its
        first event is not seen to rise, so Prometheus' `increase()` would miss that event.
        """
        self._labels = metric.labels
        self._together = tuple(together)
        self._children: dict[tuple[str, ...], _Child] = {}

    def __call__(self, *values: str) -> _Child:
        """Return the child with these label values, in the order of the metric's label names."""
        child = self._children.get(values)
        if child is None:
            for last in self._together:
                self._labels(*values[:-1], last)
            child = self._children[values] = self._labels(*values)
        return child
