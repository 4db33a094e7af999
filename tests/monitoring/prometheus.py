"""A real Prometheus for one test, set up as grafana/prometheus/prometheus.yaml shows it, but in a hurry.

Never touches another Prometheus, or a process that it did not start.
"""

import asyncio
import re
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yaml

from tests.monitoring.expressions import GRAFANA

SCRAPE_SECONDS = 0.5
_STEP_SECONDS = SCRAPE_SECONDS / 2  # or what lasted from one scrape to the next might fall between two steps
_START_SECONDS = 30
_LOG = "prometheus.log"
_LISTENS = re.compile(r'msg="Listening on" address=(\S+)')
_EXAMPLE = GRAFANA / "prometheus" / "prometheus.yaml"


class PrometheusError(Exception):
    """It did not start, or refused a question; the text says why."""


class Prometheus:
    """One Prometheus, asked through its HTTP API."""

    def __init__(self, url: str, log: Path, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._log = log
        self._session = session

    def complaints(self) -> list[str]:
        """What it warns of: rules that fail, samples that it cannot take, scrapes that it does not understand."""
        return re.findall(r"^.* level=(?:warn|error) .*$", self._log.read_text(), re.MULTILINE)

    async def course(self, expr: str, start: float, end: float) -> list[dict[str, Any]]:
        """What the expression gives over a time, step by step: series with a value that is a number.

        Raises:
            PrometheusError: it is no PromQL, or cannot be evaluated.
        """
        given = await self._ask("query_range", query=expr, start=str(start), end=str(end), step=str(_STEP_SECONDS))
        return [series for series in given["result"] if any(value != "NaN" for _, value in series["values"])]

    async def now(self, expr: str) -> list[dict[str, Any]]:
        """What the expression gives now."""
        return list((await self._ask("query", query=expr))["result"])

    async def exemplars(self, selector: str, start: float, end: float) -> list[dict[str, Any]]:
        """The exemplars of the series that the selector matches."""
        given = await self._ask("query_exemplars", query=selector, start=str(start), end=str(end))
        return [exemplar for series in given for exemplar in series["exemplars"]]

    async def until(self, expr: str, seconds: float = 15.0) -> float:
        """Wait until the expression gives anything; when it did."""
        deadline = time.monotonic() + seconds
        while not await self.now(expr):
            if time.monotonic() > deadline:
                raise PrometheusError(f"not within {seconds} s: {expr}")
            await asyncio.sleep(SCRAPE_SECONDS / 2)
        return time.time()

    async def _ask(self, what: str, **parameters: str) -> Any:
        async with self._session.post(f"{self._url}/api/v1/{what}", data=parameters) as answer:
            said = await answer.json()
        if said["status"] != "success":
            raise PrometheusError(f"{said['error']}: {parameters}")
        return said["data"]


@asynccontextmanager
async def running_prometheus(admin_url: str, folder: Path) -> AsyncIterator[Prometheus]:
    """Scrape the admin port and evaluate the rules twice a second until the end of the block."""
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(_configuration(urlsplit(admin_url).netloc)))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        process = _start(folder)
        try:
            yield Prometheus(await _listening(process, folder), folder / _LOG, session)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 30)


def _configuration(target: str) -> dict[str, Any]:
    configuration: dict[str, Any] = yaml.safe_load(_EXAMPLE.read_text())
    interval = f"{SCRAPE_SECONDS * 1000:.0f}ms"
    configuration["global"] = {"scrape_interval": interval, "evaluation_interval": interval, "scrape_timeout": interval}
    configuration["rule_files"] = [str(_EXAMPLE.parent / file) for file in configuration["rule_files"]]
    (job,) = configuration["scrape_configs"]
    job["static_configs"] = [{"targets": [target]}]
    return configuration


def _start(folder: Path) -> "subprocess.Popen[bytes]":
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        "--enable-feature=exemplar-storage",
    ]
    with (folder / _LOG).open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


async def _listening(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    """Where it says that it listens, once it is ready."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        log = (folder / _LOG).read_text()
        place = _LISTENS.search(log)
        if place and "Server is ready to receive web requests" in log:
            return f"http://{place[1]}"
        await asyncio.sleep(0.05)
    raise PrometheusError(f"Prometheus did not start:\n{(folder / _LOG).read_text()}")
