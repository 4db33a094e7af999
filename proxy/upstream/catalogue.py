"""Remembers what Ollama says about its models, so that a warm request never waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cachetools import TTLCache

from proxy.upstream.api import UpstreamError

if TYPE_CHECKING:
    from proxy.domain.model import ModelFacts, ObservedResident
    from proxy.upstream.api import OllamaApi

_KEPT_MODELS = 1000
_KEPT_SECONDS = 600.0
_FAILED_SECONDS = 5.0


class Catalogue:
    """Facts of models, kept for ten minutes or until something that can change them went through the proxy."""

    def __init__(self, api: OllamaApi) -> None:
        self._api = api
        self._facts: TTLCache[str, ModelFacts] = TTLCache(_KEPT_MODELS, _KEPT_SECONDS)
        self._failed: TTLCache[str, bool] = TTLCache(_KEPT_MODELS, _FAILED_SECONDS)
        self._asking: dict[tuple[str, int], asyncio.Task[ModelFacts | None]] = {}
        self._generation = 0

    async def facts(self, model: str) -> ModelFacts | None:
        """Return the facts of a model by canonical name; None: Ollama doesn't know it, or can't be asked."""
        try:
            return self._facts[model]  # `get` would look twice
        except KeyError:
            if model in self._failed:
                return None
        key = (model, self._generation)
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(*key))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)  # a client that leaves must not take the answer from others

    async def with_weights(self, residents: tuple[ObservedResident, ...]) -> tuple[ObservedResident, ...]:
        """Add to each line of `/api/ps` whose weights it runs."""
        facts = await asyncio.gather(*(self.facts(resident.model) for resident in residents))
        return tuple(
            resident._replace(weights=known.weights) if known else resident
            for resident, known in zip(residents, facts, strict=True)
        )

    def forget(self) -> None:
        """Forget everything: a model was pulled, created, copied or deleted."""
        self._facts.clear()
        self._failed.clear()
        self._generation += 1  # what is being asked now may be out of date when it comes

    async def close(self) -> None:
        """Cancel what is being asked."""
        for asking in tuple(self._asking.values()):
            asking.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _ask(self, model: str, generation: int) -> ModelFacts | None:
        try:
            facts = await self._api.facts(model)
        except UpstreamError:
            self._failed[model] = True  # or each request would wait for the next failure
            return None
        if facts is not None and generation == self._generation:
            self._facts[model] = facts
        return facts
