"""`keepwarm recommend`: the settings that a history calls for, each with its evidence; writes them if asked to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import platformdirs
from pydantic import ValidationError

from proxy.cli.options import config_option, settings_file
from proxy.cli.progress import Progress
from proxy.cli.replay import size_of
from proxy.cli.sources import gpu_bytes, open_source
from proxy.domain.settings import NumCtx
from proxy.domain.units import format_bytes
from proxy.settings import Settings, SettingsError
from proxy.settings.edit import UneditableError, as_yaml, changed, replace_file
from proxy.settings.yaml_loader import dotted, parse, read_text
from proxy.sim.replay.advice import STEPS, Advice, advise
from proxy.sim.replay.comparison import Plan
from proxy.sim.replay.contender import MachineSpec
from proxy.sim.replay.contexts import ContextAdvice, context_advice
from proxy.sim.replay.history import history_rows
from proxy.sim.replay.rows import TraceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.cli.sources import Replayable
    from proxy.settings.edit import Value
    from proxy.settings.yaml_loader import KeyPath

_OLLAMAS_OWN = 3
_ENOUGH_DAYS = 2


@click.command()
@click.argument("source", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_option
@click.option(
    "--gpu", callback=size_of, help="GPU memory, such as 24GiB; default: the settings' budget, else the GPU's."
)
@click.option("--seeds", type=click.IntRange(1, 100), default=5, show_default=True, help="Replays of each setting.")
@click.option("--write", is_flag=True, help="Write what is recommended into the settings file.")
def recommend(*, source: Path | None, config: Path | None, gpu: int | None, seeds: int, write: bool) -> None:
    """Try settings out on what was asked, and say which are best.

    SOURCE is a usage history of keepwarm or a CSV file with the columns at,model[,service_seconds]; without it, your
    own history.
    """
    file = settings_file(config, os.environ)
    settings = file.current
    memory = gpu_bytes(gpu, settings)
    try:
        replayable = open_source(source or settings.store.path, settings.store.path, memory)
    except TraceError as error:
        raise click.ClickException(str(error)) from error
    machine = MachineSpec(gpu_bytes=memory, max_models=settings.memory.max_models or _OLLAMAS_OWN)
    plan = Plan(replayable.models, machine, settings.engine(), overlapping=False)
    with Progress(replayable.name, STEPS * seeds) as done:
        advice = advise(plan, range(1, seeds + 1), done)
    really = replayable.really_waited_seconds is not None
    contexts = context_advice(history_rows(Path(replayable.name))) if really else []
    _show(replayable, plan, advice, contexts)
    values: dict[KeyPath, Value] = {one.key: one.value for one in advice if one.value is not None}
    values |= {("models", one.model, "num_ctx"): str(NumCtx.UNIFY) for one in contexts}
    if write and values:
        _write(file.path or platformdirs.user_config_path("keepwarm") / "keepwarm.yaml", values)
    elif values:
        click.echo(f"\nTo be put into the settings file, or say --write:\n{as_yaml(values)}")


def _show(source: Replayable, plan: Plan, advice: list[Advice], contexts: list[ContextAdvice]) -> None:
    requests, days = len(source.models.trace.arrivals), source.models.trace.arrivals[-1].at / 86400
    memory = format_bytes(plan.machine.gpu_bytes)
    click.echo(f"{source.name}: {requests} requests in {days:.1f} days, replayed on {memory} of GPU memory.")
    if days < _ENOUGH_DAYS:
        click.secho("That is little to go by: come back after some days of use.", fg="yellow")
    for one in advice:
        value = "stay as it is" if one.value is None else str(one.value).lower()
        also = (
            f"; also start Ollama with OLLAMA_MAX_LOADED_MODELS={value}"
            if one.key[-1] == "max_models" and one.value
            else ""
        )
        click.echo(f"\n{dotted(one.key)}: {value}{also}\n    {one.evidence}")
    for context in contexts:
        choice = f"{context.num_ctx} in every client, or num_ctx: unify in the settings"
        click.echo(f"\nnum_ctx of {context.model}: {choice}\n    {context.evidence}")


def _write(path: Path, values: Mapping[KeyPath, Value]) -> None:
    try:
        text = changed(read_text(path) if path.exists() else "", values)
        Settings.model_validate(parse(text, str(path)).data)
        replace_file(path, text)
    except (UneditableError, SettingsError, ValidationError, OSError) as error:
        raise click.ClickException(
            f"{path} was left as it is: {error}. Put this into it:\n{as_yaml(values)}"
        ) from error
    click.echo(f"\nwritten to {path}: {', '.join(map(dotted, values))}")
