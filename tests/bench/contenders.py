"""The contenders and the stand-in behind them: started on their core, asked for their CPU time, stopped.

Never measures anything itself. Where there are two cores, the stand-in and the clients share one and the contender
has the other for itself, so that a contender's cost does not slow down what it is measured with.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_CORES = sorted(os.sched_getaffinity(0))
CLIENT_CORE, PROXY_CORE = _CORES[0], _CORES[-1]
_START_SECONDS = 20
_STOP_SECONDS = 40
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_NGINX_CONF = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  upstream ollama {{ server {address}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://ollama;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
      client_max_body_size 0;
    }}
  }}
}}
"""


class ContenderError(Exception):
    """It ended, or did not say where it listens; the text holds what it printed."""


@dataclass(frozen=True, slots=True)
class Contender:
    """What stands between the client and the stand-in.

    Attributes:
        url: where it answers, without a slash at the end.
        log: what it prints.
        pid: its process; None: there is none, the stand-in itself answers.
        admin_url: keepwarm's admin port.
    """

    name: str
    url: str
    log: Path
    pid: int | None = None
    admin_url: str = ""

    def cpu_seconds(self) -> float:
        """CPU time that it has used so far, all its threads; 0 if there is no process."""
        if self.pid is None:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_SECONDS

    @contextmanager
    def on_core(self, core: int) -> Iterator[None]:
        """Have it on this core for a while, with all its threads."""
        self._move(core)
        try:
            yield
        finally:
            self._move(PROXY_CORE)

    def _move(self, core: int) -> None:
        if self.pid is not None:
            for thread in Path(f"/proc/{self.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})


@contextmanager
def all_contenders(folder: Path) -> Iterator[list[Contender]]:
    """direct, nginx, the bare relay and keepwarm, in front of one stand-in; `folder` is for their files."""
    with ExitStack() as stack:
        stand_in = stack.enter_context(_running([sys.executable, _HERE / "stand_in.py"], folder / "stand_in.log"))
        url = _said(stand_in, folder / "stand_in.log", r"^(http://\S+)$")[0]
        yield [
            Contender("direct", url, folder / "stand_in.log"),
            stack.enter_context(_nginx(url, folder)),
            stack.enter_context(_bare_relay(url, folder)),
            stack.enter_context(_keepwarm(url, folder)),
        ]


@contextmanager
def _nginx(upstream: str, folder: Path) -> Iterator[Contender]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(_NGINX_CONF.format(folder=folder, address=upstream.removeprefix("http://"), port=port))
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    with _running([program, "-p", folder, "-c", config], folder / "nginx.log", PROXY_CORE) as process:
        _await_answer(f"http://127.0.0.1:{port}/api/ps", process, folder / "error.log")
        yield Contender("nginx", f"http://127.0.0.1:{port}", folder / "error.log", process.pid)


@contextmanager
def _bare_relay(upstream: str, folder: Path) -> Iterator[Contender]:
    log = folder / "bare_relay.log"
    with _running([sys.executable, _HERE / "bare_relay.py", upstream], log, PROXY_CORE) as process:
        yield Contender("bare relay", _said(process, log, r"^(http://\S+)$")[0], log, process.pid)


@contextmanager
def _keepwarm(upstream: str, folder: Path) -> Iterator[Contender]:
    log = folder / "keepwarm.log"
    command: list[str | Path] = [Path(sys.executable).with_name("keepwarm"), "serve"]
    env = {
        "XDG_CONFIG_HOME": str(folder),  # not the settings of whoever runs this
        "KEEPWARM_SERVER_LISTEN": "127.0.0.1:0",
        "KEEPWARM_ADMIN_LISTEN": "127.0.0.1:0",
        "KEEPWARM_UPSTREAM_URL": upstream,
        "KEEPWARM_MEMORY_BUDGET": "24GiB",
        "KEEPWARM_STORE_PATH": str(folder / "usage.sqlite"),
    }
    with _running(command, log, PROXY_CORE, env) as process:
        url, admin = _said(process, log, r"^keepwarm \S+: (http://\S+) -> \S+, admin (http://\S+)$")
        yield Contender("keepwarm", url, log, process.pid, admin)


@contextmanager
def _running(
    command: Sequence[str | Path], log: Path, core: int = CLIENT_CORE, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process on this core; what it prints goes to `log`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("KEEPWARM_", "OLLAMA_"))}
    with log.open("wb") as printed:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            env={**inherited, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_STOP_SECONDS)


def _said(process: subprocess.Popen[bytes], log: Path, pattern: str) -> tuple[str, ...]:
    """What the process printed when it was ready."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(pattern, log.read_text(errors="replace"), re.MULTILINE)
        if found:
            return found.groups()
        time.sleep(0.02)
    raise ContenderError(f"{log.stem} did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own address
                return
        except OSError:
            time.sleep(0.02)
    raise ContenderError(f"{url} does not answer:\n{log.read_text(errors='replace')[-2000:]}")
