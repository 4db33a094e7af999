"""How well keepwarm decides: `make bench-policy` replays real and made-up workloads against baselines and bounds.

Everything is simulated (proxy/sim/replay): virtual time, the real engine, the model of Ollama's scheduler that the
conformance tests hold to the real one. Traces are those of shared/traces; docs/benchmarks.md says what is measured.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import linear_regression

import click

from proxy.cli.progress import Progress
from proxy.domain.units import parse_duration
from proxy.settings.schema import Settings
from proxy.sim.replay import published
from proxy.sim.replay.comparison import Comparison, Plan, Source, compare, steps
from proxy.sim.replay.contender import MachineSpec
from proxy.sim.replay.contenders import CONTENDERS, REFERENCE
from proxy.sim.replay.oneperson import OnePerson
from proxy.sim.replay.sessions import Sessions
from proxy.sim.replay.table import comparison_table
from proxy.sim.replay.trace import Assignment, DrawnModels
from proxy.sim.replay.workload import WorkloadModel

GB = 10**9
SIZES = (16, 24, 48, 80)
MAX_IDS = {"azure": 20, "lmsys": 27, "servegen": 24}
TRACES = {
    "azure": (published.azure, published.AZURE),
    "lmsys": (published.lmsys, published.LMSYS),
    "servegen": (published.servegen, published.SERVEGEN),
}
WORKLOADS = (*TRACES, "person", "sessions")
KEEPWARM = "adaptive"

# Issue 5, "Done when": waiting relative to Ollama's default, one request after another, by GPU size
GOALS = {
    "azure": {16: 0.60, 24: 0.69, 48: 0.50, 80: 0.43},
    "lmsys": {16: 0.69, 24: 0.74, 48: 0.61, 80: 0.59},
    "person": {16: 0.65, 24: 0.65},
}
# POLICY.md: the exact optimum of load seconds, relative to Ollama's waiting, on the laboratory's own draws of models
LABORATORY_BOUNDS = {
    "azure": {16: 0.44, 24: 0.56, 48: 0.29, 80: 0.27},
    "lmsys": {16: 0.45, 24: 0.53, 48: 0.33, 80: 0.32},
}
SESSION_GOALS = {3: 0.40, 8: 0.71}  # by OLLAMA_MAX_LOADED_MODELS
SESSION_SIZE = 24
RIVALS = ("gdsf", "lru", "lemonade")  # to be beaten in every cell
FEW = 5  # assignments: no line is drawn through fewer
WARM, MOST_WITH_WARM_UPS = "warm", 0.85  # mean wait on the Azure trace, one after another, of that without warm-ups


@dataclass(frozen=True)
class Cell:
    """One kind of workload on one machine."""

    workload: str
    size: int
    max_models: int
    overlapping: bool

    def __str__(self) -> str:
        order = "overlapping" if self.overlapping else "one after another"
        return f"{self.workload}, {self.size} GB, {self.max_models} models, {order}"

    @property
    def goal(self) -> float | None:
        """What the waiting may be at most, as a ratio to Ollama's."""
        if self.overlapping:
            return None
        return (
            SESSION_GOALS[self.max_models]
            if self.workload == "sessions"
            else GOALS.get(self.workload, {}).get(self.size)
        )

    def source(self, folder: Path) -> Source:
        """Where its workloads come from."""
        gpu_bytes = self.size * GB
        if self.workload == "sessions":
            return Sessions(_catalogue(folder, "warm"), gpu_bytes)
        if self.workload == "person":
            return OnePerson(_catalogue(folder, "nvme"), gpu_bytes)
        read, file = TRACES[self.workload]
        drawn = Assignment(_catalogue(folder, "nvme"), gpu_bytes, MAX_IDS[self.workload])
        return DrawnModels(read, folder / file, drawn)

    def _on_draws_as_hard(self, comparison: Comparison) -> str:
        """What it would be on draws of models as hard as the laboratory's, by which the goals were set."""
        theirs = LABORATORY_BOUNDS.get(self.workload, {}).get(self.size)
        if theirs is None or len(comparison.seeds) < FEW:
            return ""
        here = comparison.bound("load_seconds").mean
        return (
            f"; bound {here:.2f}, the laboratory's {theirs}: where it is that, {_waiting_where(theirs, comparison):.3f}"
        )

    def shortcomings(self, comparison: Comparison) -> Iterator[str]:
        """Say what falls short of the goals here."""
        names, ours = comparison.figures, comparison.relative(KEEPWARM)
        if self.goal is not None and ours.mean > self.goal:
            found = f"waiting {ours.mean:.3f} of Ollama's [{ours.low:.3f} {ours.high:.3f}], goal {self.goal:.2f}"
            yield f"{self}: {found}{self._on_draws_as_hard(comparison)}"
        if self.workload == "servegen" and not self.overlapping:
            seconds, default = (comparison.mean(name, "wait_seconds").mean for name in (KEEPWARM, REFERENCE))
            if seconds > default:
                yield f"{self}: {seconds:.0f} s waited, Ollama's default {default:.0f} s"
        if WARM in names and self.workload == "azure" and not self.overlapping:
            with_warm_ups, without = (comparison.mean(name, "mean_wait").mean for name in (WARM, KEEPWARM))
            if with_warm_ups > MOST_WITH_WARM_UPS * without:
                ratio = with_warm_ups / without
                yield f"{self}: waiting with warm-ups {ratio:.3f} of that without, goal {MOST_WITH_WARM_UPS}"
        for rival in RIVALS:
            theirs = comparison.relative(rival).mean if rival in names else float("inf")
            if theirs <= ours.mean:
                yield f"{self}: {rival} {theirs:.3f}, {KEEPWARM} {ours.mean:.3f} of Ollama's waiting"


def _waiting_where(bound: float, comparison: Comparison) -> float:
    """What the waiting is where the bound is this, by a straight line through the assignments."""
    ollama = [figures.wait_seconds for figures in comparison.figures[REFERENCE]]
    bounds = [bounds.load_seconds / seconds for bounds, seconds in zip(comparison.bounds, ollama, strict=True)]
    ours = [
        figures.wait_seconds / seconds for figures, seconds in zip(comparison.figures[KEEPWARM], ollama, strict=True)
    ]
    slope, intercept = linear_regression(bounds, ours)
    return intercept + slope * bound


def _catalogue(folder: Path, disk: str) -> tuple[WorkloadModel, ...]:
    return published.catalogue(folder / published.MODELS, disk)


def cells(workloads: Sequence[str], sizes: Sequence[int], modes: Sequence[str]) -> Iterator[Cell]:
    """All cells that were asked for; made-up workloads come one request after another only, as their goals do."""
    for workload in workloads:
        for mode in modes if workload in TRACES else modes[:1]:
            for size in [SESSION_SIZE] if workload == "sessions" else sizes:
                for max_models in SESSION_GOALS if workload == "sessions" else [3]:
                    yield Cell(workload, size, max_models, overlapping=mode == "overlapping")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--traces",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="TRACES_FOLDER",
    default="../shared/traces",
    show_default=True,
    help="Folder of the published traces and models.csv.",
)
@click.option("--assignments", default=20, show_default=True, help="Of models to ids, per cell.")
@click.option("--workload", "workloads", multiple=True, type=click.Choice(WORKLOADS), default=WORKLOADS)
@click.option(
    "--size", "sizes", multiple=True, type=click.Choice([str(size) for size in SIZES]), default=map(str, SIZES)
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(["sequential", "overlapping"]),
    default=("sequential", "overlapping"),
)
@click.option("--policies", default=",".join(CONTENDERS), show_default=True, help="Contenders, with commas in between.")
@click.option("--price", default="0", show_default=True, help="Price of memory: waiting per GiB·hour.")
@click.option("--max-keep", default="720h", show_default=True, help="Longest keep_alive of keepwarm.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes at a time.")
def main(  # noqa: PLR0913 - one argument per option
    *,
    folder: Path,
    assignments: int,
    workloads: Sequence[str],
    sizes: Sequence[str],
    modes: Sequence[str],
    policies: str,
    price: str,
    max_keep: str,
    jobs: int,
) -> None:
    """Replay workloads with Ollama alone, keepwarm and others' policies; say what falls short of the goals."""
    names = policies.split(",")
    if unknown := sorted(set(names) - set(CONTENDERS)):
        raise click.BadParameter(f"expected some of {', '.join(CONTENDERS)} (got {', '.join(unknown)})")
    base = Settings().engine()
    settings = replace(
        base,
        reserve_bytes=0,
        price_seconds_per_gib_hour=parse_duration(price),
        keep_alive_max_seconds=parse_duration(max_keep),
    )
    seeds = range(1, assignments + 1)
    short: list[str] = []
    for cell in cells(workloads, [int(size) for size in sizes], modes):
        machine = MachineSpec(gpu_bytes=cell.size * GB, max_models=cell.max_models)
        plan = Plan(cell.source(folder), machine, settings, overlapping=cell.overlapping)
        with Progress(str(cell), steps(names, seeds)) as done:
            comparison = compare(plan, names, seeds, jobs=jobs, done=done)
        requests = comparison.mean(REFERENCE, "requests").mean
        click.echo(
            f"\n== {cell}: {assignments} assignments, {requests:.0f} requests each\n{comparison_table(comparison)}"
        )
        if KEEPWARM in comparison.figures:
            short += cell.shortcomings(comparison)
    click.echo("\n== What falls short of the goals of issue 5" + "".join(f"\n{line}" for line in short or ["nothing"]))


if __name__ == "__main__":
    main()
