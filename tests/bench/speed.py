"""How fast the simulator replays requests through the real engine: CPU seconds and memory on one core.

30 models of 1 to 17 GiB on a GPU of 48 GiB, popular by Zipf's law; runs of ten requests on average to one model.
"""

import random
import resource
import time
from dataclasses import replace

import click

from proxy.domain.units import GIB
from proxy.settings.schema import Settings
from proxy.sim.replay.contender import MachineSpec
from proxy.sim.replay.contenders import CONTENDERS, enter
from proxy.sim.replay.simulator import simulate
from proxy.sim.replay.workload import Arrival, Workload, WorkloadModel

_MODELS, _ZIPF, _CHANGE = 30, 1.2, 0.1
_SIZES_GIB = (1, 2, 3, 5, 5, 9, 9, 13, 17)
_MACHINE = MachineSpec(gpu_bytes=48 * GIB)


def workload(requests: int, gap_seconds: float) -> Workload:
    """Make requests, exponential gaps of this mean apart; always the same."""
    dice = random.Random(3)
    models = tuple(
        WorkloadModel(f"m{number}:latest", dice.choice(_SIZES_GIB) * GIB, dice.uniform(1, 8))
        for number in range(_MODELS)
    )
    weights = [1 / (rank + 1) ** _ZIPF for rank in range(_MODELS)]
    at, model, arrivals = 0.0, 0, []
    for _ in range(requests):
        at += dice.expovariate(1 / gap_seconds)
        if dice.random() < _CHANGE:
            (model,) = dice.choices(range(_MODELS), weights)
        arrivals.append(Arrival(at, model, dice.expovariate(0.5)))
    return Workload(models, tuple(arrivals))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--requests", default=1_000_000, show_default=True)
@click.option("--gap", default=1.0, show_default=True, help="Mean seconds between two requests.")
@click.option("--policy", type=click.Choice([*CONTENDERS]), default="adaptive", show_default=True)
def main(*, requests: int, gap: float, policy: str) -> None:
    """Replay made-up requests once and say what it took."""
    work = workload(requests, gap)
    settings = replace(Settings().engine(), budget_bytes=_MACHINE.gpu_bytes)
    before_kib, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    result = simulate(work, _MACHINE, enter(policy, settings, _MACHINE, work), seed=1, overlapping=True)
    seconds = time.process_time() - began
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    click.echo(
        f"{requests:,} requests, {result.loads:,} loads: {seconds:.1f} s CPU,"
        f" {seconds / requests * 1e6:.0f} us a request, {grown_mib:.0f} MiB more than the workload"
    )


if __name__ == "__main__":
    main()
