"""The command `keepwarm` as people and service managers use it: its words, its exit status, its signals.

What runs is a process of its own; a command that is only refused is called in this process, because that is faster.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import yaml
from click.testing import CliRunner

from proxy import __version__
from proxy.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODULE = (sys.executable, "-m", "proxy")
COMMAND = (str(Path(sys.executable).parent / "keepwarm"),)
SHIPPED = Path(__file__).parents[2] / "config" / "keepwarm.yaml"
PATIENCE_SECONDS = 15.0
_Found = TypeVar("_Found")
ANYWHERE = {"KEEPWARM_SERVER_LISTEN": "127.0.0.1:0", "KEEPWARM_ADMIN_LISTEN": "127.0.0.1:0"}
BAD = """\
server:
  listen: 127.0.0.1:11435
  shutdown_grace: 300
memory:
  budgt: 22GiB
  price: 5ms
keep_alive:
  min: 2h
  max: 1h
models:
  "qwen*":
    pin: maybe
"""


@dataclass
class Home:
    """A home folder of its own and nothing else in the environment: what the user has set does not count."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        return {"HOME": str(self.path), "PATH": os.environ["PATH"], **self.env, **more}

    def runs(self, *arguments: object, program: tuple[str, ...] = MODULE, **env: str) -> Finished:
        """Run a command to its end."""
        command = [*program, *map(str, arguments)]
        done = subprocess.run(
            command, env=self.environment(**env), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def calls(self, *arguments: object, **env: str) -> Finished:
        """Run a command that ends by itself in this process."""
        users = dict.fromkeys(name for name in os.environ if name.startswith(("KEEPWARM_", "OLLAMA_", "XDG_")))
        done = CliRunner(env={**users, **self.environment(**env)}).invoke(main, [*map(str, arguments)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return Finished(done.exit_code, done.stdout, done.stderr)

    def writes(self, **sections: Any) -> Path:
        """Write a settings file as editors do: a new one in place of the old one."""
        path, new = self.path / "keepwarm.yaml", self.path / "keepwarm.yaml.new"
        new.write_text(yaml.safe_dump(sections))
        return new.rename(path)

    @contextlib.contextmanager
    def running(self, *arguments: object, **env: str) -> Iterator[Running]:
        """Run `serve` or `demo` until the end of the test."""
        log = self.path / "stderr"
        with log.open("w") as stderr:
            command = [*MODULE, *map(str, arguments)]
            process = subprocess.Popen(command, env=self.environment(**{**ANYWHERE, **env}), stderr=stderr)
        try:
            yield Running(process, log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@dataclass
class Finished:
    """A command that is over."""

    status: int
    out: str
    err: str

    def refused(self, status: int) -> str:
        """Check that it failed in words for people, and return them."""
        assert (self.status, self.out) == (status, ""), self
        assert "Traceback" not in self.err
        return self.err


@dataclass
class Running:
    """A running `keepwarm serve` or `keepwarm demo`."""

    process: subprocess.Popen[bytes]
    log: Path

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until it wrote this to standard error."""
        return until(lambda: re.search(pattern, self.log.read_text()), self.alive)

    def alive(self) -> None:
        assert self.process.poll() is None, self.log.read_text()

    @property
    def urls(self) -> tuple[str, str, str]:
        """Where clients reach it, where it reaches Ollama, and its admin port."""
        found = self.says(r"keepwarm \S+: (http://\S+) -> (http://\S+), admin (http://\S+)\n")
        return found[1], found[2], found[3]

    def state(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(get(f"{self.urls[2]}/state"))
        return content

    def shows(self, check: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the state is like this."""
        return until(lambda: state if check(state := self.state()) else None, self.alive)

    def ends(self) -> int:
        return self.process.wait(timeout=PATIENCE_SECONDS)


def until(look: Callable[[], _Found | None], check: Callable[[], None] = lambda: None) -> _Found:
    """Look again and again until there is something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := look()) is None:
        check()
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def get(url: str, body: dict[str, Any] | None = None) -> str:
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - as above
        content: str = answer.read().decode()
        return content


def chat(url: str, model: str) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": False}
    content: dict[str, Any] = json.loads(get(f"{url}/api/chat", body))
    return content


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], str]]:
    """Starts a web server that always gives the same answer."""
    with contextlib.ExitStack() as servers:

        def start(status: int, body: bytes) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

                def log_message(self, *_: object) -> None:
                    pass

            server = HTTPServer(("127.0.0.1", 0), Handler)
            thread = Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            servers.callback(server.server_close)
            servers.callback(thread.join)
            servers.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


# keepwarm --version, check


def test_the_command_and_the_module_are_the_same(home: Home) -> None:
    results = [home.runs("--version", program=program) for program in (COMMAND, MODULE)]
    assert [(done.status, done.out) for done in results] == [(0, f"keepwarm, version {__version__}\n")] * 2


def test_a_good_file_is_called_good(home: Home) -> None:
    assert home.calls("check", SHIPPED) == Finished(0, f"{SHIPPED}: good\n", "")


def test_every_error_of_a_file_is_told_at_once_with_its_line_and_column(home: Home) -> None:
    path = home.path / "bad.yaml"
    path.write_text(BAD)
    lines = home.calls("check", path).refused(2).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        [f"{path}:3:3", "server.shutdown_grace"],
        [f"{path}:5:3", "memory.budgt"],
        [f"{path}:8:3", "keep_alive.min"],
        [f"{path}:12:5", 'models."qwen*".pin'],
    ]
    assert "did you mean budget?" in lines[1]


@pytest.mark.parametrize("command", [("check",), ("serve", "--config")])
def test_a_file_that_cannot_be_read_is_named(home: Home, command: tuple[str, ...]) -> None:
    path = home.path / "nowhere.yaml"
    error = home.calls(*command, path).refused(2)
    assert str(path) in error
    assert len(error.splitlines()) == 1


def test_the_effective_settings_are_shown_as_a_file_that_means_the_same(home: Home) -> None:
    home.env["KEEPWARM_UPSTREAM_URL"] = "http://gpu-box:11434"
    first = home.calls("check", SHIPPED, "--show")
    shown = home.path / "shown.yaml"
    shown.write_text(first.out)
    del home.env["KEEPWARM_UPSTREAM_URL"]
    assert home.calls("check", shown, "--show") == first
    assert yaml.safe_load(first.out)["upstream"]["url"] == "http://gpu-box:11434"


def test_a_variable_counts_more_than_the_file_and_a_misspelt_one_is_an_error(home: Home) -> None:
    path = home.writes(keep_alive={"min": "1m"})
    shown = home.calls("check", path, "--show", KEEPWARM_KEEP_ALIVE_MIN="10m")
    assert yaml.safe_load(shown.out)["keep_alive"]["min"] == "10m"
    error = home.calls("check", path, KEEPWARM_KEEPALIVE_MIN="10m").refused(2)
    assert error == "KEEPWARM_KEEPALIVE_MIN: unknown setting, did you mean KEEPWARM_KEEP_ALIVE_MIN?\n"


# keepwarm serve


def test_with_a_bad_file_it_does_not_start_and_tells_every_error(home: Home) -> None:
    path = home.path / "bad.yaml"
    path.write_text(BAD)
    assert home.runs("serve", "--config", path).refused(2) == home.calls("check", path).refused(2)


@pytest.mark.parametrize("key", ["server", "admin"])
def test_with_a_port_in_use_it_does_not_start_and_says_which_setting_names_it(home: Home, taken: int, key: str) -> None:
    env = {**ANYWHERE, f"KEEPWARM_{key.upper()}_LISTEN": f"127.0.0.1:{taken}"}
    error = home.runs("serve", **env).refused(1)
    line = error.splitlines()[-1]
    assert f"{key}.listen" in line
    assert f"127.0.0.1:{taken}" in line
    assert "in use" in line


def test_the_file_in_the_users_config_folder_counts_where_none_is_named(home: Home) -> None:
    folder = home.path / ".config" / "keepwarm"
    folder.mkdir(parents=True)
    (folder / "keepwarm.yaml").write_text("memory: {budgt: 1GiB}\n")
    assert "memory.budgt" in home.calls("serve").refused(2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_when_asked_to_stop_it_exits_with_0_within_2_seconds(home: Home, number: signal.Signals) -> None:
    with home.running("demo", "--speed", 20) as demo:
        url, _, _ = demo.urls
        chat(url, "llama3.2:1b")
        began = time.monotonic()
        demo.process.send_signal(number)
        assert demo.ends() == 0
        assert time.monotonic() - began < 2
        assert "Traceback" not in demo.log.read_text()


def test_a_changed_file_takes_effect_without_a_signal_and_a_broken_one_leaves_the_last_good_settings(
    home: Home,
) -> None:
    store = {"path": str(home.path / "usage.sqlite")}
    config = home.writes(memory={"price": "5ms"}, store=store)
    with home.running("serve", "--config", config) as served:
        assert served.state()["price"] == 0.005
        home.writes(memory={"price": "7ms"}, store=store)
        served.shows(lambda state: state["price"] == 0.007)
        served.says("settings reloaded")

        config.write_text("memory:\n  price: cheap\n")  # in place, as some editors do
        state = served.shows(lambda state: state["settings"]["error"] is not None)
        assert state["price"] == 0.007
        assert state["settings"]["error"].startswith(f"{config}:2:3: memory.price: ")
        served.says(rf"ERROR .*the last good settings stay.*{config}:2:3: memory\.price")
        assert 'keepwarm_config_reloads_total{result="failure"} 1.0' in get(f"{served.urls[2]}/metrics")

        home.writes(memory={"price": "9ms"}, store=store)
        state = served.shows(lambda state: state["price"] == 0.009)
        assert state["settings"]["error"] is None


def test_sighup_reloads_even_what_has_not_changed_and_tells_what_needs_a_restart(home: Home) -> None:
    config = home.writes(server={"shutdown_grace": "1s"})
    with home.running("serve", "--config", config) as served:
        assert served.state()["settings"]["reloads_ok"] == 0
        served.process.send_signal(signal.SIGHUP)
        served.shows(lambda state: state["settings"]["reloads_ok"] == 1)
        home.writes(server={"shutdown_grace": "9s"})
        served.process.send_signal(signal.SIGHUP)
        served.shows(lambda state: state["settings"]["after_restart"] == ["server.shutdown_grace"])
        served.says("takes effect after a restart: server.shutdown_grace")
        config.write_text("server: [")
        served.process.send_signal(signal.SIGHUP)
        served.shows(lambda state: state["settings"]["error"] is not None)
        served.alive()
        assert config.name in served.state()["settings"]["file"]


def test_a_variable_counts_while_running_too_whatever_the_file_says_later(home: Home) -> None:
    config = home.writes(memory={"price": "5ms"})
    with home.running("serve", "--config", config, KEEPWARM_MEMORY_PRICE="1ms") as served:
        assert served.state()["price"] == 0.001
        home.writes(memory={"price": "7ms", "budget": "7GiB"})
        state = served.shows(lambda state: state["budget_bytes"] == 7 * 2**30)
        assert state["price"] == 0.001


# keepwarm demo, status, explain


def test_a_demo_announces_itself_and_shows_something_real_in_status_and_explain(home: Home) -> None:
    with home.running("demo", "--speed", 20) as demo:
        url, upstream, admin = demo.urls
        assert f"SIMULATED OLLAMA at {upstream}" in demo.log.read_text()
        assert chat(url, "gemma3:4b")["done"] is True

        table = home.calls("status", "--admin", admin)
        assert (table.status, table.err) == (0, "")
        memory, saved, head, line = table.out.splitlines()
        assert saved.startswith("Today you waited ")
        assert memory == "3.3GiB of 24GiB used (set in memory.budget)"
        assert head.split() == ["MODEL", "SIZE", "NOW", "KEPT", "USES/H", "LOAD", "WORTH", "WHY"]
        assert re.match(r"gemma3:4b +3\.3GiB +idle +\S+ +1\.0 +1\.\d s +\S+/GiB·h +kept ", line)

        state = json.loads(home.calls("status", "--json", KEEPWARM_ADMIN_URL=admin).out)
        assert [resident["model"] for resident in state["residents"]] == ["gemma3:4b"]

        explained = home.calls("explain", "Gemma3:4B", "--admin", f"{admin}/")
        assert explained.status == 0
        assert re.search(r"^model +gemma3:4b$", explained.out, re.MULTILINE)
        assert re.search(r"^now +resident, idle, ", explained.out, re.MULTILINE)
        assert re.search(r"^last decisions:\n  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  loaded: ", explained.out, re.MULTILINE)

        unknown = home.calls("explain", "nobody", "--admin", admin).refused(1)
        assert "nothing is known of nobody:latest" in unknown


def test_a_demo_has_the_models_and_the_memory_that_it_is_told(home: Home) -> None:
    options = ("--model", "a=1GiB", "--model", "b:x=500MiB", "--gpu", "2GiB", "--speed", 20)
    with home.running("demo", *options) as demo:
        url, _, _ = demo.urls
        assert [model["name"] for model in json.loads(get(f"{url}/api/tags"))["models"]] == ["a:latest", "b:x"]
        assert demo.state()["budget_bytes"] == 2 * 2**30


def test_a_demo_leaves_the_users_usage_history_alone(home: Home) -> None:
    with home.running("demo", "--speed", 20) as demo:
        chat(demo.urls[0], "llama3.2:1b")
        demo.process.terminate()
        demo.ends()
    assert not list(home.path.rglob("*.sqlite*"))


def test_a_demo_with_traffic_lives_through_a_day_shows_it_on_the_page_and_ends_cleanly(home: Home) -> None:
    with home.running("demo", "--traffic", "--speed", 1200) as demo:
        _, _, admin = demo.urls
        assert f"Look at it: {admin}/\n" in demo.says(r"Look at it: .*\n")[0]
        demo.says(r"Made-up clients ask from now on; a day takes 1m12s\.\n")
        state = demo.shows(lambda state: len(state["models"]) >= 4)
        assert time.localtime(state["at"]).tm_hour >= 9
        assert state["decisions"]
        assert "<title>keepwarm</title>" in get(f"{admin}/")
        began = time.monotonic()
        demo.process.send_signal(signal.SIGINT)
        assert demo.ends() == 0
        assert time.monotonic() - began < 2
        log = demo.log.read_text()
        assert "Traceback" not in log
        assert "WARNING" not in log


def test_traffic_for_models_of_ones_own_is_refused(home: Home) -> None:
    error = home.calls("demo", "--traffic", "--model", "a=1GiB").refused(2)
    assert "--traffic asks for the models that the demo has without --model" in error


def test_in_a_demo_time_passes_as_fast_for_the_proxy_as_for_its_ollama(home: Home) -> None:
    with home.running("demo", "--speed", 600, KEEPWARM_KEEP_ALIVE_MAX="10m") as demo:
        chat(demo.urls[0], "llama3.2:1b")
        assert demo.state()["residents"]  # for ten minutes, which are a second
        began = demo.state()["at"]
        demo.shows(lambda state: not state["residents"])
        assert demo.state()["at"] - began >= 500


@pytest.mark.parametrize(
    "options",
    [
        ("--speed", "0"),
        ("--speed", "nan"),
        ("--speed", "fast"),
        ("--gpu", "24"),
        ("--gpu", "0B"),
        ("--load-speed", "0B"),
        ("--tokens-per-second", "-1"),
        ("--driver-lag", "1"),
        ("--driver-lag", "-1s"),
        ("--model", "qwen3:8b"),
        ("--model", "=5GiB"),
        ("--model", "qwen3:8b=big"),
        ("--model", "a b=1GiB"),
        ("--port", "99999"),
        ("--port", "-1"),
    ],
    ids=" ".join,
)
def test_options_of_a_demo_that_make_no_sense_are_refused(home: Home, taken: int, options: tuple[str, str]) -> None:
    nowhere = dict.fromkeys(ANYWHERE, f"127.0.0.1:{taken}")  # what is not refused can't run either
    error = home.calls("demo", *options, **nowhere).refused(2).splitlines()[-1]
    assert error.startswith("Error: ")


def test_a_demo_on_a_port_in_use_says_so(home: Home, taken: int) -> None:
    assert str(taken) in home.runs("demo", "--port", taken, **ANYWHERE).refused(1).splitlines()[-1]


def test_where_no_ollama_answers_serve_can_become_a_demo_and_says_so(home: Home, taken: int) -> None:
    nowhere = f"http://127.0.0.1:{taken}"  # it takes connections, and never answers
    with home.running("serve", "--or-demo", KEEPWARM_UPSTREAM_URL=nowhere) as served:
        _, upstream, _ = served.urls
        log = served.log.read_text()
        assert f"No Ollama answers at {nowhere}." in log
        assert f"SIMULATED OLLAMA at {upstream}" in log


def test_where_an_ollama_answers_there_is_no_demo(home: Home, answering: Callable[[int, bytes], str]) -> None:
    url = answering(200, b'{"version":"0.32.15"}')
    with home.running("serve", "--or-demo", KEEPWARM_UPSTREAM_URL=url) as served:
        assert served.urls[1] == url
        assert "SIMULATED" not in served.log.read_text()


@pytest.mark.parametrize("command", [("status",), ("explain", "llama3.2")])
def test_where_nothing_runs_status_and_explain_say_where_they_looked(home: Home, command: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        admin = f"http://127.0.0.1:{free.getsockname()[1]}"
    error = home.calls(*command, "--admin", admin).refused(1)
    assert len(error.splitlines()) == 1
    assert admin in error
    assert "Is it running?" in error


@pytest.mark.parametrize("admin", ["nonsense", "localhost:11436", "http://", "http://127.0.0.1:99999"])
def test_an_admin_address_that_is_none_is_refused_in_one_line(home: Home, admin: str) -> None:
    assert len(home.calls("status", "--admin", admin).refused(1).splitlines()) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"404 page not found"), (404, b'"no"'), (200, b"Ollama is running"), (200, b"{}"), (200, b"[]")],
)
@pytest.mark.parametrize("command", [("status",), ("explain", "llama3.2")])
def test_a_port_where_another_program_answers_is_told_from_the_admin_port(
    home: Home, answering: Callable[[int, bytes], str], status: int, body: bytes, command: tuple[str, ...]
) -> None:
    url = answering(status, body)  # Ollama's port or the clients' port, for example
    error = home.calls(*command, "--admin", url).refused(1)
    assert url in error


def test_how_long_a_model_is_kept_is_told_by_the_clock_of_the_proxy(
    home: Home, answering: Callable[[int, bytes], str]
) -> None:
    resident = {"model": "a:latest", "bytes": 1, "vram_bytes": 1, "busy": 0, "kept_until": 1090.0, "worth": None}
    resident |= {"uses_per_hour": 1.0, "load_seconds": None, "reason": "kept"}
    state: dict[str, Any] = {
        "at": 1000.0,
        "budget_bytes": None,
        "budget_source": "",
        "used_bytes": 1,
        "upstream_known": True,
    }
    state |= {"waiting": 0, "operation": None, "residents": [resident]}
    url = answering(200, json.dumps(state).encode())  # its clock does not jump, ours may: sleep, another machine
    assert home.calls("status", "--admin", url).out.splitlines()[2].split()[3] == "1m30s"
