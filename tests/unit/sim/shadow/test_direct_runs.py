"""The baseline is honest: of clients that did talk to Ollama itself, the shadow tells what they did wait."""

from __future__ import annotations

import random

import pytest

from proxy.domain.effects import Outcome
from proxy.domain.events import Ending, RequestEnded
from proxy.domain.model import ModelFacts
from proxy.domain.units import GIB
from proxy.sim.replay.contender import Direct, MachineSpec
from proxy.sim.replay.simulator import simulate
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel
from proxy.sim.shadow.shadow import Shadow
from tests.unit.sim.shadow.requests_over import NOON, engine_that_knows, over

SIZES = (0.3, 2.3, 4.3, 4.9, 8.9, 9.3, 13.2, 17.9)
MODELS = tuple(WorkloadModel(f"m{i}:latest", int(gib * GIB), 1 + gib * 0.43) for i, gib in enumerate(SIZES))
MACHINE = MachineSpec(gpu_bytes=24 * GIB)


def sessions(seed: int, gap_seconds: float, stay: float, requests: int = 1500) -> Workload:
    """Several requests to one model before the next, whose answers overlap more or less."""
    dice = random.Random(seed)
    at, model, arrivals = 0.0, 0, []
    for _ in range(requests):
        at += dice.expovariate(1 / gap_seconds)
        if dice.random() > stay:
            model = dice.choices(range(len(MODELS)), [1 / (rank + 1) for rank in range(len(MODELS))])[0]
        arrivals.append(Arrival(at, model, dice.uniform(0.1, 10.0)))
    return Workload(MODELS, arrivals)


@pytest.mark.parametrize(("gap_seconds", "stay"), [(1.0, 0.99), (20.0, 0.7), (60.0, 0.5), (200.0, 0.0), (400.0, 0.9)])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_clients_of_ollama_itself_waited_is_what_the_shadow_says(
    gap_seconds: float, stay: float, seed: int
) -> None:
    work = sessions(seed, gap_seconds, stay)
    digests = [f"{number:064x}" for number in range(len(MODELS))]
    random.Random(seed).shuffle(digests)  # as the simulator does: among equals, Ollama evicts the smallest first
    facts = [ModelFacts(model.name, digest, model.bytes) for model, digest in zip(MODELS, digests, strict=True)]
    waits = simulate(work, MACHINE, Direct(), seed=seed, overlapping=True).waits
    requests = [
        over(
            NOON + arrival.at,
            facts[arrival.model],
            service=arrival.service_seconds,
            told=waited,
            outcome=Outcome.PASSTHROUGH,
        )
        for arrival, waited in zip(work.arrivals, waits, strict=True)
    ]
    engine = engine_that_knows((model, spec.load_seconds) for model, spec in zip(facts, MODELS, strict=True))
    live = {request.at for request in requests}
    shadow = Shadow(engine, lambda: min(live, default=float("inf")), seed=seed)
    for request in sorted(requests, key=lambda request: request.at + request.e2e_seconds):
        live.discard(request.at)
        at = request.at + request.e2e_seconds
        shadow.observe(RequestEnded(at, request.request_id, Ending.ANSWERED), [request])
    saved = shadow.snapshot(at + 3600.0)
    assert saved is not None
    assert saved.since_start.waited_seconds == pytest.approx(sum(wait for wait in waits if wait > 0.2))
    assert saved.since_start.alone_seconds == pytest.approx(sum(waits), rel=1e-6)
