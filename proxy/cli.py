"""The command line: serve, check, status, explain, demo."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import click
import platformdirs

from proxy import __version__
from proxy.admin_client import AdminError, ask
from proxy.app import ListenError, running_app, serve_until_stopped
from proxy.domain.units import parse_bytes, parse_duration
from proxy.settings import SettingsError, SettingsFile, load, show
from proxy.sim.catalog import DEFAULT_MODELS, MIB, SimModel
from proxy.sim.server import SimulatedOllama
from proxy.sim.site import SimulatedOllamaOptions
from proxy.status import status_table

if TYPE_CHECKING:
    from collections.abc import Coroutine

_DEFAULT_ADMIN = "http://127.0.0.1:11436"
_WATCH_SECONDS = 2.0
_USAGE_EXIT = 2

config_option = click.option(
    "--config",
    "-c",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="KEEPWARM_CONFIG",
    help="Settings file; default: keepwarm.yaml in your config directory if there is one, else the defaults.",
)
admin_option = click.option(
    "--admin", envvar="KEEPWARM_ADMIN_URL", default=_DEFAULT_ADMIN, show_default=True, help="Admin port of keepwarm."
)

_COLLECT_AFTER = 20_000  # objects; a request makes some hundreds that mostly go by themselves
POSITIVE = click.FloatRange(1e-3, 1e6)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keepwarm")
def main() -> None:
    """Keep the right Ollama models in GPU memory."""


@main.command()
@config_option
@click.option("--or-demo", is_flag=True, help="Where no Ollama answers, start the simulated one.")
def serve(config: Path | None, *, or_demo: bool) -> None:
    """Run the proxy in front of Ollama."""
    settings_file = _settings_file(config, os.environ)
    if or_demo and not _answers(settings_file.current.upstream.url):
        click.secho(f"No Ollama answers at {settings_file.current.upstream.url}.", fg="yellow", err=True)
        _run_demo(config, SimulatedOllamaOptions(), 0)
        return
    _run(_serve(settings_file))


@main.command()
@config_option
@click.option("--gpu", default="24GiB", show_default=True, help="Memory of the simulated GPU.")
@click.option("--model", "models", multiple=True, metavar="NAME=SIZE", help="A model, such as qwen3:8b=5.2GiB; repeat.")
@click.option("--load-speed", default="4GiB", show_default=True, help="What is loaded per second.")
@click.option("--tokens-per-second", type=POSITIVE, default=100.0, show_default=True, help="Speed of answers.")
@click.option("--driver-lag", default="0s", show_default=True, help="How long freed memory still counts as used.")
@click.option("--speed", type=POSITIVE, default=1.0, show_default=True, help="Simulated seconds per second.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of the simulated Ollama itself; 0: any free one."
)
def demo(config: Path | None, port: int, **simulated: Any) -> None:  # noqa: ANN401 - as the options say
    """Run the proxy in front of a simulated Ollama: no GPU, no models, no answers worth reading."""
    try:
        options = _simulated(**simulated)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _run_demo(config, options, port)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--show", "show_settings", is_flag=True, help="Print the effective settings.")
def check(file: Path, *, show_settings: bool) -> None:
    """Check a settings file: print all its errors, exit 2 if there are any."""
    try:
        settings = load(file, os.environ)
    except SettingsError as error:
        _refuse(error)
    click.echo(show(settings) if show_settings else f"{file}: good")


@main.command()
@admin_option
@click.option("--watch", is_flag=True, help="Print it again every 2 seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole state as JSON.")
def status(admin: str, *, watch: bool, as_json: bool) -> None:
    """Show which models are resident, until when, and why."""
    while True:
        state = _ask(admin, "/state", "residents")
        text = json.dumps(state, indent=2) if as_json else status_table(state)
        if watch:
            click.clear()
        click.echo(text)
        if not watch:
            return
        time.sleep(_WATCH_SECONDS)


@main.command()
@click.argument("model")
@admin_option
def explain(model: str, admin: str) -> None:
    """Show the numbers behind the last decisions about MODEL."""
    found = _ask(admin, f"/models/{quote(model, safe='')}/explain", "decisions")
    decisions = found.pop("decisions")
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):32} {value}")
    click.echo("last decisions:")
    for decision in decisions:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(decision["at"]))
        click.echo(f"  {moment}  {decision['text']}")


async def _serve(settings_file: SettingsFile) -> None:
    settings = settings_file.current
    gc.set_threshold(_COLLECT_AFTER)
    async with running_app(settings_file) as app:
        click.echo(
            f"keepwarm {__version__}: {app.client_url} -> {settings.upstream.url}, admin {app.admin_url}", err=True
        )
        await serve_until_stopped(app)


def _simulated(
    gpu: str, models: tuple[str, ...], load_speed: str, tokens_per_second: float, driver_lag: str, speed: float
) -> SimulatedOllamaOptions:
    if parse_bytes(gpu) < MIB or parse_bytes(load_speed) < MIB or parse_duration(driver_lag) < 0:
        raise ValueError(
            f"--gpu and --load-speed must be >= 1MiB, --driver-lag >= 0, got {gpu}, {load_speed}, {driver_lag}"
        )
    if math.isnan(tokens_per_second) or math.isnan(speed):
        raise ValueError("--speed and --tokens-per-second must be numbers, got nan")
    return SimulatedOllamaOptions(
        models=tuple(_simulated_model(model) for model in models) or DEFAULT_MODELS,
        gpu_mib=parse_bytes(gpu) >> 20,
        load_mib_per_second=parse_bytes(load_speed) / 2**20,
        tokens_per_second=tokens_per_second,
        driver_lag_seconds=parse_duration(driver_lag),
        speed=speed,
    )


def _simulated_model(text: str) -> SimModel:
    name, equals, size = text.rpartition("=")
    if not equals or not name or any(character.isspace() for character in name):
        raise ValueError(f"a model is NAME=SIZE such as qwen3:8b=5.2GiB, got {text!r}")
    return SimModel(name=name, mib=parse_bytes(size) >> 20)


def _run_demo(config: Path | None, options: SimulatedOllamaOptions, port: int) -> None:
    async def run() -> None:
        ollama = SimulatedOllama(options)
        try:
            url = await ollama.start(port=port)
        except OSError as error:
            raise ListenError(f"--port: the simulated Ollama can't listen on {port}: {error.strerror}") from error
        click.secho(f"SIMULATED OLLAMA at {url}: made-up models and answers, no GPU.", fg="yellow", bold=True, err=True)
        with tempfile.TemporaryDirectory(prefix="keepwarm-demo-") as folder:  # made-up usage is no history
            own = {"KEEPWARM_MEMORY_BUDGET": f"{options.gpu_mib}MiB", "KEEPWARM_STORE_PATH": f"{folder}/usage.sqlite"}
            try:
                await _serve(_settings_file(config, {**own, **os.environ, "KEEPWARM_UPSTREAM_URL": url}))
            finally:
                await ollama.stop()

    _run(run())


def _run(work: Coroutine[Any, Any, None]) -> None:
    loop_factory = None
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - not to be had on Windows

        loop_factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(work)
    except ListenError as error:
        raise click.ClickException(str(error)) from error


def _settings_file(config: Path | None, env: dict[str, str] | os._Environ[str]) -> SettingsFile:
    default = platformdirs.user_config_path("keepwarm") / "keepwarm.yaml"
    path = config or (default if default.exists() else None)
    try:
        return SettingsFile(path, env)
    except SettingsError as error:
        _refuse(error)


def _refuse(error: SettingsError) -> NoReturn:
    for problem in error.problems:
        click.secho(problem, fg="red", err=True)
    sys.exit(_USAGE_EXIT)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/api/version", timeout=2):  # noqa: S310 - http(s), by the settings
            return True
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _ask(admin: str, path: str, expected: str) -> dict[str, Any]:
    try:
        return ask(admin, path, expected)
    except AdminError as error:
        raise click.ClickException(str(error)) from error
