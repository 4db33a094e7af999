"""The real command `keepwarm serve` for one test: ports, settings file and usage history of its own.

Everything about it is real: the process, its sockets, its signals. Never touches another keepwarm, and never imports
the proxy: what a test sees is what a user sees.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

_START_SECONDS = 20
_STOP_SECONDS = 40  # longer than its own shutdown_grace, 30 s
_LISTENS = re.compile(r"^keepwarm \S+: (https?://\S+) -> \S+, admin (http://\S+)$", re.MULTILINE)


class KeepwarmProcessError(Exception):
    """keepwarm ended, was not ready in time, or did not end well; the text holds the end of its log."""


class Keepwarm:
    """One keepwarm in `folder`. It may be stopped or killed and started again: settings and history stay, ports change.

    Attributes:
        url: the clients' port, without a slash at the end.
        admin: the admin port.
        config: its settings file; JSON, which is YAML too.
        store: its usage history.
        log_file: what it printed, over all its starts.
    """

    def __init__(self, upstream: str, folder: Path, settings: Mapping[str, Any], launcher: Sequence[str] = ()) -> None:
        self.url = self.admin = ""
        self._launcher = launcher
        self.config = folder / "settings" / "keepwarm.yaml"  # alone in its folder, which is watched
        self.store = folder / "usage.sqlite"
        self.log_file = folder / "keepwarm.log"
        self._process: subprocess.Popen[bytes] | None = None
        own = {
            "server": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0"},
            "upstream": {"url": upstream},
            "memory": {"budget": "24GiB"},  # the pretended GPU: no driver tells of it
            "store": {"path": str(self.store)},
            "log": {"level": "debug"},
        }
        self.config.parent.mkdir()
        self.config.write_text(json.dumps(_merged(own, settings), indent=2))

    def __repr__(self) -> str:
        """Its place, and its pid while it runs."""
        return f"Keepwarm({self.url}, pid={self.pid}, log={self.log_file})"

    @property
    def pid(self) -> int:
        """Its process; 0 while it does not run."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Starts it and waits until /readyz says yes.

        Raises:
            KeepwarmProcessError: it ended, or was not ready within 20 s.
        """
        log_begins = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._process = self._spawn()
        deadline = time.monotonic() + _START_SECONDS
        while not (self._listens(log_begins) and await self.ready()):
            if self._process.poll() is not None:
                raise KeepwarmProcessError(f"ended with {self._process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise KeepwarmProcessError(f"not ready in {_START_SECONDS} s:\n{self.log()}")
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """SIGTERM; returns when it has ended. Does nothing if it does not run.

        Raises:
            KeepwarmProcessError: it went on for 40 s, ended with something else than 0, or left a traceback.
        """
        self.terminate()
        await self.ended()

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        if self._process is not None:
            self._process.terminate()

    async def ended(self) -> None:
        """Returns when it has ended after `terminate`; raises as `stop` does."""
        if self._process is None:
            return
        process, self._process = self._process, None
        try:
            code = await asyncio.to_thread(process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise KeepwarmProcessError(f"still there {_STOP_SECONDS} s after SIGTERM:\n{self.log()}") from error
        if code != 0 or "Traceback" in self.log():
            raise KeepwarmProcessError(f"ended with {code}:\n{self.log()}")

    def kill(self) -> None:
        """SIGKILL, at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """All that it printed."""
        return self.log_file.read_text(errors="replace")

    async def ready(self) -> bool:
        """What /readyz says."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.admin}/readyz") as answer:
            return answer.ok

    async def state(self) -> dict[str, Any]:
        """What /state says."""
        return await self._admin_json("/state")

    async def explain(self, model: str) -> dict[str, Any]:
        """What /models/…/explain says.

        Raises:
            aiohttp.ClientResponseError: nothing is known of the model (404).
        """
        return await self._admin_json(f"/models/{quote(model, safe='')}/explain")

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's values over the time series that have these labels; 0 if there is none."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.admin}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if re.match(rf"{name}[{{ ]", line) and all(want in line for want in wanted)
        )

    async def _admin_json(self, path: str) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.admin}{path}") as answer:
            answer.raise_for_status()
            return dict(await answer.json())

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = str(Path(sys.executable).with_name("keepwarm"))
        command = [*self._launcher, program, "serve", "--config", str(self.config)]
        env = {name: value for name, value in os.environ.items() if not name.startswith(("KEEPWARM_", "OLLAMA_"))}
        with self.log_file.open("ab") as log:
            return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _listens(self, log_begins: int) -> bool:
        """Whether it has said where."""
        said = _LISTENS.search(self.log_file.read_bytes()[log_begins:].decode(errors="replace"))
        if said:
            self.url, self.admin = said.groups()
        return said is not None


@asynccontextmanager
async def running_keepwarm(upstream: str, settings: Mapping[str, Any] | None = None) -> AsyncIterator[Keepwarm]:
    """A started keepwarm in front of `upstream`, in a folder that goes with it; its log is shown if the test fails.

    Args:
        upstream: where Ollama answers.
        settings: sections of the settings file that differ from the test's own (24 GiB, free ports, debug log).

    Raises:
        KeepwarmProcessError: it did not start, or did not end well.
    """
    with tempfile.TemporaryDirectory(prefix="keepwarm-test-") as folder:
        keepwarm = Keepwarm(upstream, Path(folder), settings or {})
        try:
            await keepwarm.start()
            yield keepwarm
            await keepwarm.stop()
        finally:
            keepwarm.kill()
            print(f"\n--- {keepwarm}\n{keepwarm.log()[-20_000:]}")  # noqa: T201 - seen if the test fails


def _merged(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: _merged(base[key], other[key]) for key in base.keys() & other.keys() if isinstance(base[key], dict)}
    return {**base, **other, **both}
