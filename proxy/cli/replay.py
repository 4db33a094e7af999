"""`keepwarm replay`: what the requests of a history or a CSV file would have waited, with keepwarm and without."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.options import config_option, settings_file
from proxy.cli.progress import Progress
from proxy.cli.sources import Replayable, gpu_bytes, open_source
from proxy.domain.units import format_bytes, format_duration, parse_bytes
from proxy.sim.replay.comparison import Comparison, Plan, compare, steps
from proxy.sim.replay.contender import MachineSpec
from proxy.sim.replay.contenders import CONTENDERS, REFERENCE, known
from proxy.sim.replay.report import page, timeline
from proxy.sim.replay.rows import TraceError
from proxy.sim.replay.table import comparison_table

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS = "adaptive"
_DEFAULT = (REFERENCE, "forever", "lru", OURS, "adaptive@0", "adaptive@50ms", "clairvoyant")
_NAMED_UNKNOWN = 5
_DAY_SECONDS = 86400


def _names(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if not known(name)]:
        expected = f"some of {', '.join(CONTENDERS)}, or one with a price such as adaptive@50ms"
        raise click.BadParameter(f"expected {expected} (got {', '.join(unknown)})")
    return tuple(dict.fromkeys((*names, OURS)))


def size_of(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """Read an option that is a size such as 24GiB."""
    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("sources", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_option
@click.option("--budget", callback=size_of, help="GPU memory, such as 24GiB; default: the settings', else the GPU's.")
@click.option("--max-models", type=click.IntRange(1), help="OLLAMA_MAX_LOADED_MODELS; default: the settings', else 3.")
@click.option("--policies", callback=_names, default=",".join(_DEFAULT), show_default=True, help="Who takes part.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=20, show_default=True, help="Replays of each.")
@click.option("--overlapping", is_flag=True, help="Requests come at their times, not one after another: no bounds.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with plots there.")
def replay(
    *,
    sources: Sequence[Path],
    config: Path | None,
    budget: int | None,
    max_models: int | None,
    policies: tuple[str, ...],
    seeds: int,
    overlapping: bool,
    html: Path | None,
) -> None:
    """Replay requests with Ollama's defaults, keepwarm and others, and compare.

    SOURCES are usage histories of keepwarm or CSV files with the columns at,model[,service_seconds]; without any, your
    own history. Models of unknown size get one drawn from a list, another one for each seed.
    """
    if html and len(sources) > 1:
        raise click.UsageError("--html writes one page: expected one source")
    settings = settings_file(config, os.environ).current
    memory = gpu_bytes(budget, settings)
    machine = MachineSpec(gpu_bytes=memory, max_models=max_models or settings.memory.max_models or 3)
    for path in sources or (settings.store.path,):
        try:
            source = open_source(path, settings.store.path, memory)
        except TraceError as error:
            raise click.ClickException(str(error)) from error
        plan = Plan(source.models, machine, settings.engine(), overlapping)
        with Progress(source.name, steps(policies, range(seeds))) as done:
            comparison = compare(plan, policies, range(1, seeds + 1), done=done)
        _show(source, plan, comparison, html)


def _show(source: Replayable, plan: Plan, comparison: Comparison, html: Path | None) -> None:
    headline, notes = _headline(source, comparison), _notes(source, plan, comparison)
    click.echo("\n".join([headline, *notes, "", comparison_table(comparison), ""]))
    if html:
        timelines = [timeline(plan, name, comparison.seeds[0]) for name in comparison.figures]
        html.write_text(page(headline, notes, comparison, timelines, (REFERENCE, OURS)), encoding="utf-8")
        click.echo(f"page written: {html}")


def _headline(source: Replayable, comparison: Comparison) -> str:
    """What a person wants to know."""
    default, ours = (comparison.mean(name, "wait_seconds").mean for name in (REFERENCE, OURS))
    arrivals = source.models.trace.arrivals
    share = comparison.relative(OURS)
    interval = f", 95 % sure from {share.low:.0%} to {share.high:.0%}" if share.low < share.high else ""
    days = arrivals[-1].at / _DAY_SECONDS
    return (
        f"{len(arrivals)} requests in {days:.1f} days: with Ollama's defaults people would wait"
        f" {format_duration(default)} for models, with keepwarm {format_duration(ours)}"
        + (f" ({share.mean:.0%} of it{interval})." if default else ".")
    )


def _notes(source: Replayable, plan: Plan, comparison: Comparison) -> list[str]:
    order = "overlapping" if plan.overlapping else "one after another"
    memory, models = format_bytes(plan.machine.gpu_bytes), plan.machine.max_models
    notes = [
        f"Simulated: {memory} of GPU memory, at most {models} models, requests {order}, {len(comparison.seeds)} seeds."
    ]
    if source.really_waited_seconds is not None:
        notes.append(f"When it happened, they waited {format_duration(source.really_waited_seconds)}.")
    if unknown := source.models.unknown:
        more = len(unknown) - _NAMED_UNKNOWN
        shown = ", ".join(unknown[:_NAMED_UNKNOWN]) + (f" and {more} more" if more > 0 else "")
        notes.append(f"Sizes and load times are not known of {shown}: drawn from a list, others for each seed.")
    return notes
