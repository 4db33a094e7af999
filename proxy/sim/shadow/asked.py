"""What a request that is over asks of Ollama alone, in the terms of its scheduler. Decides nothing."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxy.domain.effects import Outcome
from proxy.domain.events import Ending
from proxy.sim.models import AUTOMATIC, ModelSpec, RunnerOptions, SchedulerOptions

if TYPE_CHECKING:
    from proxy.domain.model import ModelFacts
    from proxy.domain.model import RunnerOptions as AskedOptions
    from proxy.domain.timeline import FinishedRequest
    from proxy.engine.state import State
    from proxy.engine.worth import Costs

_PARALLEL: Final = 256
"""OLLAMA_NUM_PARALLEL, so high that nobody waits for another's answer: what is compared is waiting for models."""
_UNKNOWN_BYTES: Final = 1 << 50
"""The GPU whose memory nobody knows yet, since everything has fitted so far."""
_ANY_CONTEXT: Final = 1 << 30


class Kind(NamedTuple):
    """A model and the options that a request wants it to run with."""

    asked: AskedOptions
    weights: str
    spec: ModelSpec
    options: RunnerOptions

    @classmethod
    def of(cls, request: FinishedRequest, facts: ModelFacts, costs: Costs) -> Kind:
        """Return that of a request; a model whose size is not known takes no room."""
        spec = ModelSpec(
            name=request.model,
            weights=facts.weights or request.model,
            file_bytes=max(1, costs.bytes),
            load_seconds=costs.load_seconds,
            context_limit=facts.train_context or _ANY_CONTEXT,
        )
        return cls(request.options, facts.weights, spec, _runner_options(request.options, facts))

    def is_of(self, request: FinishedRequest, facts: ModelFacts) -> bool:
        """Tell whether another request for this model asks for the same."""
        return self.weights == facts.weights and self.asked == request.options


def machine(state: State) -> SchedulerOptions:
    """Return the GPU as far as it is known, and as many models as Ollama keeps loaded; the rest is its default."""
    return SchedulerOptions(
        gpu_bytes=state.budget.total(state.settings) or _UNKNOWN_BYTES,
        max_loaded_models=state.budget.max_models(state.settings),
        num_parallel=_PARALLEL,
    )


def is_comparable(request: FinishedRequest) -> bool:
    """Tell whether it was answered or given up: what failed would have failed, what was refused been refused."""
    return request.ending is not Ending.UPSTREAM_ERROR and request.status < HTTPStatus.BAD_REQUEST


def waiting_is_known(request: FinishedRequest) -> bool:
    """Tell whether we know what it waited: of what passed as it came, only Ollama does, and not every answer tells."""
    return request.outcome is not Outcome.PASSTHROUGH or request.figures.load_seconds is not None


def _runner_options(asked: AskedOptions, facts: ModelFacts) -> RunnerOptions:
    values: dict[str, Any] = {key: value for key, value in asked.values if isinstance(value, int)}
    if facts.default_num_ctx is not None:
        values.setdefault("num_ctx", facts.default_num_ctx)
    return RunnerOptions(**values, shift=asked.shift) if values or asked.shift is not None else AUTOMATIC
