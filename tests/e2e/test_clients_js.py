"""JavaScript's client libraries through the proxy: the answers are Ollama's own, counted, and the models kept.

clients_js/run.cjs makes the calls and prints what the libraries showed. npm installs them once, into the user's cache.
"""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.e2e.keepwarm_process import Keepwarm, running_keepwarm
from tests.e2e.ollama_build.model_template import STANDARD_MODELS
from tests.e2e.proxy_fixtures import EMBEDS, FAST, GENERATES, ask, until

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama
    from tests.e2e.real_ollama import RealOllama

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent / "clients_js"
LIBRARIES = ("ollama", "openai")
LLM, CALLS_TOOLS, EMBED = "llama3.2:1b", "calls-tools:latest", "nomic-embed-text:latest"
BASE_OF_CALLS_TOOLS = "llama3.2:3b"
TEMPLATE = """{{ if .Tools }}{{ .Tools }}{{ end }}{{ range .Messages }}{{ .Content }}\
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}{{ end }}"""
# 17 minutes is nobody's default. At this price no model is worth more than its minimum, so that is what is chosen.
CHOSEN = 17 * 60
SETTINGS = {"memory": {"budget": "24GiB", "price": "60s"}, "keep_alive": {"min": "17m", "max": "3h"}}
NOT_FOUND = {"class": "NotFoundError", "status": 404, "message": "404 model 'no-such-model' not found"}
# How they answer to what fails on purpose. The name that Ollama looks up by itself gets its tag.
ERRORS = {
    "ollama": {
        "unknownChat": {"class": "ResponseError", "status": 404, "message": "model 'no-such-model' not found"},
        "unknownChatStreamed": {"class": "ResponseError", "status": 404, "message": "model 'no-such-model' not found"},
        "unknownShow": {"class": "ResponseError", "status": 404, "message": "model 'no-such-model:latest' not found"},
        "unknownPull": {"class": "ResponseError", "status": 500, "message": "pull model manifest: file does not exist"},
    },
    "openai": {
        "unknownChat": NOT_FOUND,
        "unknownChatStreamed": NOT_FOUND,
        "unknownModel": NOT_FOUND | {"message": "404 model 'no-such-model:latest' not found"},
    },
}


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs clients_js/run.cjs with the libraries in a folder."""

    modules: Path

    async def __call__(self, library: str, url: str) -> dict[str, Any]:
        """Makes all calls of a library; what it showed of each, by the call's name."""
        command = ["node", str(HERE / "run.cjs"), str(self.modules), library, url]
        node = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = await node.communicate()
        assert (node.returncode, err) == (0, b""), err.decode()
        return dict(json.loads(out))


@pytest.fixture(scope="module")
def run() -> Runner:
    """Installs the libraries that the lock file names, unless the cache has them."""
    if not (shutil.which("npm") and shutil.which("node")):
        _give_up("no npm and node on the PATH")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keepwarm"
    folder = cache / f"clients-js-{hashlib.sha256((HERE / 'package-lock.json').read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, made)
            command = ["npm", "ci", "--no-audit", "--no-fund"]
            installed = subprocess.run(command, cwd=made, check=False, capture_output=True, text=True)
            if installed.returncode:
                _give_up(f"npm ci failed: {installed.stderr}")
            if not folder.exists():  # else another run was faster
                made.rename(folder)
    return Runner(folder)


def _give_up(why: str) -> None:
    message = f"JavaScript's clients can't be installed here: {why}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(start_module_ollama: "StartOllama") -> "RealOllama":
    wanted = (LLM, BASE_OF_CALLS_TOOLS, EMBED.removesuffix(":latest"))
    ollama = await start_module_ollama(FAST, [model for model in STANDARD_MODELS if model.name in wanted])
    await ollama.post("/api/create", model=CALLS_TOOLS, template=TEMPLATE, **{"from": BASE_OF_CALLS_TOOLS})
    return ollama


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keepwarm(upstream: "RealOllama") -> AsyncIterator[Keepwarm]:
    """With all models loaded: what follows is warm."""
    async with running_keepwarm(upstream.url, SETTINGS) as keepwarm:
        for model, path in ((LLM, "/api/chat"), (CALLS_TOOLS, "/api/chat"), (EMBED, "/api/embed")):
            await ask(keepwarm.url, model, path)
        yield keepwarm


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_javascript_client_sees_what_ollama_itself_answers(
    run: Runner, upstream: "RealOllama", keepwarm: Keepwarm, library: str
) -> None:
    through = await run(library, keepwarm.url)
    assert {name: seen["error"] for name, seen in through.items() if "error" in seen} == ERRORS[library]
    assert through["chatThatCallsATool"]["answer"] == [["get_weather", {"city": "Paris"}]]
    assert all(seen["answer"] for seen in through.values() if "error" not in seen)
    assert through == await run(library, upstream.url)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_its_calls_are_counted_under_their_endpoints_with_the_tokens_that_it_sees(
    run: Runner, keepwarm: Keepwarm, library: str
) -> None:
    before = await counts(keepwarm)
    seen = (await run(library, keepwarm.url)).values()
    counted = await counts(keepwarm)
    counted.subtract(before)
    ran = [call for call in seen if "endpoint" in call]
    expected = Counter(("requests", call["endpoint"]) for call in ran)
    for call in ran:
        expected.update({(call["model"], "in"): call["tokens"][0], (call["model"], "out"): call["tokens"][1]})
    assert +counted == +expected


@pytest.mark.parametrize("library", LIBRARIES)
async def test_after_its_calls_the_models_are_kept_for_as_long_as_the_policy_says(
    run: Runner, upstream: "RealOllama", keepwarm: Keepwarm, library: str
) -> None:
    """Though one of its calls sends a keep_alive of its own."""
    await run(library, keepwarm.url)
    kept = {
        line["name"]: (datetime.fromisoformat(line["expires_at"]) - datetime.now(UTC)).total_seconds()
        for line in await upstream.ps()
    }
    assert kept.keys() == {LLM, CALLS_TOOLS, EMBED}
    assert all(abs(seconds - CHOSEN) < 8 for seconds in kept.values()), kept


@pytest.mark.parametrize("library", LIBRARIES)
async def test_while_ollama_is_stopped_its_errors_say_that_keepwarm_cannot_reach_it(
    run: Runner, start_ollama: "StartOllama", library: str
) -> None:
    stopped = await start_ollama(FAST, [model for model in STANDARD_MODELS if model.name == LLM])
    async with running_keepwarm(stopped.url) as keepwarm:
        await ask(keepwarm.url, LLM)
        await stopped.stop()
        errors = [seen["error"] for seen in (await run(library, keepwarm.url)).values()]
    kind, before = {"ollama": ("ResponseError", ""), "openai": ("InternalServerError", "502 ")}[library]
    assert {(error["class"], error["status"]) for error in errors} == {(kind, 502)}
    text = f"{before}keepwarm can't reach Ollama at {stopped.url}: "
    assert all(error["message"].startswith(text) for error in errors), errors


async def counts(keepwarm: Keepwarm) -> Counter[tuple[str, str]]:
    """Once no request is under way: warm requests of each endpoint, and tokens in and out of each model."""

    async def quiet() -> bool:
        return await keepwarm.metric("keepwarm_requests_in_flight") == 0

    await until(quiet, 5, "every answer's end is noticed")
    counted = Counter[tuple[str, str]]()
    for endpoint in GENERATES | EMBEDS:
        requests = await keepwarm.metric("keepwarm_requests_total", endpoint=endpoint, outcome="warm")
        counted["requests", endpoint] = int(requests)
    for model in (LLM, CALLS_TOOLS, EMBED):
        for direction in ("in", "out"):
            tokens = await keepwarm.metric("keepwarm_tokens_total", model=model, direction=direction)
            counted[model, direction] = int(tokens)
    return counted
