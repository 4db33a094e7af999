"""How much GPU memory there is for models: set by a person, told by the driver, or learnt from what fits and spills."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.domain.settings import EngineSettings

_MODELS_PER_GPU = 3


@dataclass(frozen=True, slots=True)
class Budget:
    """What is known of the memory; every figure in bytes, None where it is not known.

    Attributes:
        driver_total: what the driver says that the GPUs have.
        others: what other programs occupy now, as far as the driver tells.
        spilled_at: memory on the GPU when a model spilled: there was no more.
        refused_at: Ollama evicted although this much would have sufficed by its 80 % rule.
        fitted: most that was seen on the GPU without a spill.
        gpus: number of GPUs, 1 until it is known.
    """

    driver_total: int | None = None
    others: int = 0
    spilled_at: int | None = None
    refused_at: int | None = None
    fitted: int = 0
    gpus: int = 1

    def with_driver(self, total: int, others: int, gpus: int) -> Budget:
        """Take over what the driver says."""
        return replace(self, driver_total=total, others=others, gpus=max(1, gpus))

    def with_fit(self, used: int) -> Budget:
        """Residents of `used` bytes are on the GPU as a whole."""
        refuted = self.spilled_at is not None and used > self.spilled_at
        if used <= self.fitted and not refuted:
            return self
        return replace(self, fitted=max(self.fitted, used), spilled_at=None if refuted else self.spilled_at)

    def with_spill(self, on_gpu: int) -> Budget:
        """A model spilled when `on_gpu` bytes were taken."""
        return replace(self, spilled_at=on_gpu)

    def with_refusal(self, enough: int) -> Budget:
        """Ollama made room although, with `enough` bytes in all, it would not have had to."""
        return replace(self, refused_at=min(enough, self.refused_at or enough))

    def learnt(self) -> int | None:
        """Return what follows from fits and spills alone; None: nothing was ever refused."""
        limits = [limit for limit in (self.spilled_at, self.refused_at) if limit is not None]
        return max(self.fitted, min(limits)) if limits else None

    def total(self, settings: EngineSettings) -> int | None:
        """Return the memory that Ollama reckons with."""
        if self.driver_total is not None:
            return self.driver_total
        return settings.budget_bytes if settings.budget_bytes is not None else self.learnt()

    def usable(self, settings: EngineSettings) -> int | None:
        """Return the memory that models may fill: the budget, but never more than there is less the reserve."""
        if settings.budget_bytes is None and self.driver_total is None:
            return self.learnt()
        bounds = [] if settings.budget_bytes is None else [settings.budget_bytes]
        if self.driver_total is not None:
            bounds.append(max(0, self.driver_total - self.others - settings.reserve_bytes))
        return min(bounds)

    def source(self, settings: EngineSettings) -> str:
        """Say where the budget comes from."""
        if settings.budget_bytes is not None:
            return "set in memory.budget"
        if self.driver_total is not None:
            return "told by the GPU's driver"
        if self.learnt() is not None:
            return "learnt from what fitted and what spilled"
        return "not known yet: nothing has spilled so far"

    def max_models(self, settings: EngineSettings) -> int:
        """Return how many models Ollama keeps loaded at once: as set, else its own default, three per GPU."""
        return settings.max_models or _MODELS_PER_GPU * self.gpus
