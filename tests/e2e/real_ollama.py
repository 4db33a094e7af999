"""A real Ollama for one test: a port, folders and a pretended GPU of its own, started and stopped by the test.

Everything about it is real (scheduler, API, tokens) except the memory figures and load times that its runners report
(pretend_gpu/llama-server). Never touches the shared build in the cache, another Ollama, or a process it did not start.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.ollama_build import model_template
from tests.e2e.ollama_build.install import install_ollama
from tests.e2e.ollama_build.model_template import STANDARD_MODELS, Kind, PretendedModel
from tests.e2e.process_group import living

_BUILD = Path(__file__).parent / "ollama_build"
_START_SECONDS = 30
_GRACE_SECONDS = 10  # from SIGTERM to SIGKILL


class OllamaProcessError(Exception):
    """Ollama ended, did not answer in time, or did not go; the text says what and holds the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealOllamaOptions:
    """How the machine looks to this Ollama, and how it is set up.

    Attributes:
        gpu_mib: memory of the pretended GPU, in MiB.
        load_mib_per_s: load speed, in MiB per second; a load costs 0.25 s beside that.
        release_ms: how long the driver still counts a dead runner's memory, in milliseconds.
        kv_kib_per_token: memory per token of context beside the weights, in KiB.
        max_loaded_models: OLLAMA_MAX_LOADED_MODELS; None is Ollama's default (3 per GPU).
        num_parallel: OLLAMA_NUM_PARALLEL; None is Ollama's default.
        keep_alive: OLLAMA_KEEP_ALIVE; None is Ollama's default (5m).
        env: more environment variables; they win over all of the above.
        port: where to listen on 127.0.0.1; 0 takes a free one.
    """

    gpu_mib: int = 24576
    load_mib_per_s: int = 4096
    release_ms: int = 0
    kv_kib_per_token: int = 0
    max_loaded_models: int | None = None
    num_parallel: int | None = None
    keep_alive: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    port: int = 0


class RealOllama:
    """One Ollama in `folder`. It may be stopped or killed and started again: port and models stay.

    Attributes:
        url: where it answers, without a slash at the end.
        home: its HOME.
        models_dir: its OLLAMA_MODELS.
        log: what it printed, over all its starts.
    """

    def __init__(self, build: Path, folder: Path, options: RealOllamaOptions | None = None) -> None:
        self.options = options or RealOllamaOptions()
        self.port = self.options.port or _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.home = folder / "home"
        self.models_dir = folder / "models"
        self.log = folder / "ollama.log"
        self._build = build
        self._state = folder / "state"
        self._used_mib = folder / "used_mib"
        self._tree = folder / "ollama"
        self._process: subprocess.Popen[bytes] | None = None
        for made in (self.home, self.models_dir, self._state):
            made.mkdir(parents=True)
        self._lay_tree()

    def __repr__(self) -> str:
        """Its place, and its pid while it runs."""
        pid = self._process.pid if self._process else None
        return f"RealOllama({self.url}, pid={pid}, log={self.log})"

    async def start(self) -> None:
        """Starts it and waits until it answers.

        Raises:
            OllamaProcessError: it ended, or did not answer within 30 s.
        """
        log_begins = self.log.stat().st_size if self.log.exists() else 0
        self._process = self._spawn()
        deadline = time.monotonic() + _START_SECONDS
        # Its own word that it listens: behind a port that was taken in between, someone else would answer.
        while not (self._says_it_listens(log_begins) and await self._answers()):
            if self._process.poll() is not None:
                raise OllamaProcessError(f"Ollama ended with {self._process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                await self.kill()
                raise OllamaProcessError(f"no answer from {self.url} in {_START_SECONDS} s:\n{self.log_tail()}")
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is still there after 10 s. Does nothing if it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        await self._gone_within(_GRACE_SECONDS)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL for it and its runners, at once. Does nothing if it does not run."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):  # all gone
            os.kill(self._process.pid, signal.SIGKILL)  # first: it must not see its runners die
            os.killpg(self._process.pid, signal.SIGKILL)
        if not await self._gone_within(_GRACE_SECONDS):
            raise OllamaProcessError(f"still there after SIGKILL: {self.processes()}")
        self._process.wait()
        self._process = None
        for running in self._state.iterdir():  # a pid may come again
            running.unlink(missing_ok=True)

    def kill_runners(self) -> None:
        """SIGKILL for what runs its models, as Linux does when memory runs out."""
        assert self._process is not None
        for pid in self.processes():
            if pid != self._process.pid:
                os.kill(pid, signal.SIGKILL)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop it and its runners in mid-work, as SIGSTOP does; they go on when the block ends."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def processes(self) -> list[int]:
        """The pids of its process group that live: its own and its runners'. Empty if it does not run."""
        return living(self._process.pid) if self._process else []

    async def create(self, name: str, seed: int, mib: int, kind: Kind = "llm", eos: float = 0.5) -> None:
        """Adds a model; see `PretendedModel`. Milliseconds if its template is cached, else it must be running."""
        await self.add(PretendedModel(name=name, seed=seed, mib=mib, kind=kind, eos=eos))

    async def add(self, *models: PretendedModel) -> None:
        """Adds models, as `create` does."""
        ollama = self._tree / "bin/ollama"
        for model in models:
            if not model_template.is_built(model):
                await asyncio.to_thread(
                    model_template.build, model, ollama=ollama, url=self.url, models_dir=self.models_dir
                )
            await asyncio.to_thread(model_template.install, model, self.models_dir)

    async def ps(self) -> list[dict[str, Any]]:
        """What /api/ps says: name, size, size_vram, expires_at, context_length … of each resident model."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/api/ps") as answer:
            answer.raise_for_status()
            return list((await answer.json())["models"])

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        """POST, not streamed; the answer's JSON.

        Raises:
            aiohttp.ClientResponseError: the status is 400 or more.
        """
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}{path}", json={"stream": False} | body) as answer,
        ):
            answer.raise_for_status()
            return dict(await answer.json())

    def set_used_mib(self, mib: int) -> None:
        """From now on other programs use this much of the GPU's memory."""
        self._used_mib.write_text(f"{mib}\n")

    def log_tail(self, lines: int = 40) -> str:
        """The last lines that it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _lay_tree(self) -> None:
        """Ollama finds its runner beside its own executable, symbolic links resolved: so bin/ollama is no such link."""
        (self._tree / "bin").mkdir(parents=True)
        (self._tree / "lib/ollama").mkdir(parents=True)
        try:
            os.link(self._build / "bin/ollama", self._tree / "bin/ollama")
        except OSError:  # another file system
            shutil.copy2(self._build / "bin/ollama", self._tree / "bin/ollama")
        (self._tree / "lib/ollama/llama-quantize").symlink_to(self._build / "lib/ollama/llama-quantize")
        (self._tree / "lib/ollama/llama-server").symlink_to(_BUILD / "pretend_gpu/llama-server")

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [self._tree / "bin/ollama", "serve"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # its runners stay in its process group
            )

    def _environment(self) -> dict[str, str]:
        chosen = {
            "OLLAMA_MAX_LOADED_MODELS": self.options.max_loaded_models,
            "OLLAMA_NUM_PARALLEL": self.options.num_parallel,
            "OLLAMA_KEEP_ALIVE": self.options.keep_alive,
        }
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_MODELS": str(self.models_dir),
            "OLLAMA_NOPRUNE": "1",
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_DEBUG": "1",
            "REAL_LLAMA_SERVER": str(self._build / "llama-server"),
            "PRETEND_STATE": str(self._state),
            "PRETEND_USED_FILE": str(self._used_mib),
            "PRETEND_GPU_MIB": str(self.options.gpu_mib),
            "PRETEND_LOAD_MIB_PER_S": str(self.options.load_mib_per_s),
            "PRETEND_RELEASE_MS": str(self.options.release_ms),
            "PRETEND_KV_KIB_PER_TOKEN": str(self.options.kv_kib_per_token),
            **{name: str(value) for name, value in chosen.items() if value is not None},
            **self.options.env,
        }

    async def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.processes():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    def _says_it_listens(self, log_begins: int) -> bool:
        return f"Listening on 127.0.0.1:{self.port}".encode() in self.log.read_bytes()[log_begins:]

    async def _answers(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/api/version") as answer:
                return answer.ok
        except aiohttp.ClientConnectionError:
            return False


@asynccontextmanager
async def running_ollama(
    options: RealOllamaOptions | None = None,
    models: Iterable[PretendedModel] = STANDARD_MODELS,
    *,
    build: Path | None = None,
) -> AsyncIterator[RealOllama]:
    """A started Ollama with these models, in a folder that goes with it.

    Args:
        options: how it is set up; None is a card of 24 GiB.
        models: what it has.
        build: what `install_ollama` gave; None asks it.
    """
    with tempfile.TemporaryDirectory(prefix="keepwarm-ollama-", ignore_cleanup_errors=True) as folder:
        if build is None:
            build = await asyncio.to_thread(install_ollama)
        ollama = RealOllama(build, Path(folder), options)
        try:
            await ollama.start()
            await ollama.add(*models)
            yield ollama
        finally:
            await ollama.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
