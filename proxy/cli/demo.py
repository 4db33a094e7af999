"""`keepwarm demo`: the proxy in front of a simulated Ollama. Never touches the user's history."""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.options import config_option, settings_file
from proxy.cli.running import run, serve_until_told
from proxy.domain.units import format_duration, parse_bytes, parse_duration
from proxy.server.clock import SteadyClock
from proxy.server.listeners import ListenError
from proxy.sim.catalog import DEFAULT_MODELS, MIB, SimModel
from proxy.sim.server import SimulatedOllama
from proxy.sim.site import SimulatedOllamaOptions
from proxy.sim.visitors import visitors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy.app import App

_POSITIVE = click.FloatRange(1e-3, 1e6)
_DAY_BEGINS_HOUR = 9.0
_LONGEST_ANSWER_TOKENS = 4000
_MODELS_AT_ONCE = 6
_PRICE = "500ms"


@click.command()
@config_option
@click.option("--gpu", default="24GiB", show_default=True, help="Memory of the simulated GPU.")
@click.option("--model", "models", multiple=True, metavar="NAME=SIZE", help="A model, such as qwen3:8b=5.2GiB; repeat.")
@click.option("--load-speed", default="4GiB", show_default=True, help="What is loaded per second.")
@click.option("--tokens-per-second", type=_POSITIVE, default=100.0, show_default=True, help="Speed of answers.")
@click.option("--driver-lag", default="0s", show_default=True, help="How long freed memory still counts as used.")
@click.option("--speed", type=_POSITIVE, default=1.0, show_default=True, help="Simulated seconds per second.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of the simulated Ollama itself; 0: any free one."
)
@click.option("--traffic", is_flag=True, help="Let made-up clients live through their days, from nine in the morning.")
def demo(config: Path | None, port: int, *, traffic: bool, **simulated: Any) -> None:  # noqa: ANN401 - as they say
    """Run the proxy in front of a simulated Ollama: no GPU, no models, no answers worth reading."""
    try:
        options = _simulated(**simulated)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if traffic and simulated["models"]:
        raise click.UsageError("--traffic asks for the models that the demo has without --model, so leave that out")
    run_demo(config, options, port, traffic=traffic)


def run_demo(config: Path | None, options: SimulatedOllamaOptions, port: int, *, traffic: bool = False) -> None:
    """Run the proxy in front of a simulated Ollama that listens on this port; 0: any free one.

    The proxy's clock goes as fast as the simulated Ollama's: what lasts an hour for one does so for the other. Traffic
    begins on today's morning by that clock.
    """
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    morning = midnight + _DAY_BEGINS_HOUR * 3600 if traffic else None
    clock = SteadyClock(speed=options.speed, starts_at=morning)
    if traffic:
        options = replace(options, answer_tokens=_LONGEST_ANSWER_TOKENS, max_loaded_models=_MODELS_AT_ONCE)

    @asynccontextmanager
    async def beside(app: App) -> AsyncIterator[None]:
        click.secho(f"Look at it: {app.admin_url}/", fg="green", bold=True, err=True)
        if not traffic:
            yield
            return
        click.echo(f"Made-up clients ask from now on; a day takes {format_duration(86400 / options.speed)}.", err=True)
        async with visitors(app.client_url, clock, speed=options.speed, midnight=midnight):
            yield

    async def serve() -> None:
        ollama = SimulatedOllama(options)
        try:
            url = await ollama.start(port=port)
        except OSError as error:
            raise ListenError(f"--port: the simulated Ollama can't listen on {port}: {error.strerror}") from error
        click.secho(f"SIMULATED OLLAMA at {url}: made-up models and answers, no GPU.", fg="yellow", bold=True, err=True)
        with tempfile.TemporaryDirectory(prefix="keepwarm-demo-") as folder:  # made-up usage is no history
            own = {
                "KEEPWARM_MEMORY_BUDGET": f"{options.gpu_mib}MiB",
                "KEEPWARM_MEMORY_MAX_MODELS": str(options.max_loaded_models),
                "KEEPWARM_STORE_PATH": f"{folder}/usage.sqlite",
            }
            if traffic:
                own["KEEPWARM_MEMORY_PRICE"] = _PRICE
            try:
                settings = settings_file(config, {**own, **os.environ, "KEEPWARM_UPSTREAM_URL": url})
                await serve_until_told(settings, clock, beside)
            finally:
                await ollama.stop()

    run(serve())


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
