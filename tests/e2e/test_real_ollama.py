"""The harness itself: Ollama believes in the pretended GPU, and nothing of it stays behind."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.ollama_build.model_template import ENDLESS_MODELS, STANDARD_MODELS
from tests.e2e.real_ollama import OllamaProcessError, RealOllama, RealOllamaOptions

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama

pytestmark = pytest.mark.e2e

SIZES = {model.name: model.mib for model in STANDARD_MODELS}
LOADED_FAST = RealOllamaOptions(load_mib_per_s=65536)


async def load(ollama: RealOllama, model: str, keep_alive: str = "10m") -> float:
    """Loads a model and tells how many seconds that took."""
    began = time.monotonic()
    await ollama.post("/api/generate", model=model, keep_alive=keep_alive)
    return time.monotonic() - began


async def resident(ollama: RealOllama) -> set[str]:
    return {model["name"] for model in await ollama.ps()}


def living(pids: list[int]) -> list[int]:
    """Those that run. A dead child that nobody has waited for yet has no command line."""
    return [pid for pid in pids if (file := Path(f"/proc/{pid}/cmdline")).exists() and file.read_bytes()]


async def test_ollama_believes_in_the_gpu_and_in_the_sizes(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama()
    assert 'total="24.0 GiB"' in ollama.log.read_text()
    assert await load(ollama, "llama3.1:8b") >= SIZES["llama3.1:8b"] / 4096
    [model] = await ollama.ps()
    assert model["size_vram"] == model["size"] == SIZES["llama3.1:8b"] << 20


async def test_nine_models_are_ready_within_seconds_and_use_little_disk(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(models=())
    await ollama.add(*STANDARD_MODELS)  # whatever was not yet cached is now
    again = await start_ollama(models=())
    began = time.monotonic()
    await again.add(*STANDARD_MODELS)
    assert time.monotonic() - began < 3
    disk = sum(file.stat().st_blocks * 512 for file in again.models_dir.rglob("*"))
    assert disk < 100 << 20  # the models pretend to 52 GiB


async def test_a_model_answers_readably_and_ends_by_itself(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(LOADED_FAST)
    answer = await ollama.post("/api/chat", model="gemma3:4b", messages=[{"role": "user", "content": "Hello"}])
    assert answer["done_reason"] == "stop"
    assert answer["message"]["content"].strip()


async def test_a_model_never_writes_what_is_not_in_its_text(start_ollama: "StartOllama") -> None:
    """Of 6,000 answers one had a stray byte, and Ollama breaks a stream off there without a word."""
    ollama = await start_ollama(LOADED_FAST)
    options = {"num_predict": 60, "temperature": 1}
    told = {"logprobs": True, "top_logprobs": 20, "options": options}
    answer = await ollama.post("/api/generate", model="gemma3:27b", prompt="Hello", **told)
    chances = [each["logprob"] for token in answer["logprobs"] for each in token["top_logprobs"]]
    assert any(chance < -5 for chance in chances)  # beside the text's successors it lists what is not in the text
    assert not any(-20 < chance < -5 for chance in chances)


async def test_an_endless_model_goes_on_until_num_predict(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(LOADED_FAST, ENDLESS_MODELS)
    for model in ENDLESS_MODELS:
        answer = await ollama.post("/api/generate", model=model.name, prompt="Hello", options={"num_predict": 300})
        assert (answer["done_reason"], answer["eval_count"]) == ("length", 300)


async def test_the_embedding_model_embeds(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(LOADED_FAST)
    answer = await ollama.post("/api/embed", model="nomic-embed-text", input="a proxy")
    assert len(answer["embeddings"][0]) == 512


async def test_the_shortest_keep_alive_is_evicted(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(LOADED_FAST)
    await load(ollama, "llama3.1:8b", keep_alive="60m")
    await load(ollama, "deepseek-r1:14b", keep_alive="10m")
    await load(ollama, "phi4:14b", keep_alive="30m")  # 4.7 and 9.0 of 24 GiB are taken: 9.1 are not in 80 % of 10.3
    assert await resident(ollama) == {"llama3.1:8b", "phi4:14b"}


async def test_a_model_larger_than_the_gpu_spills(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(RealOllamaOptions(gpu_mib=8192, load_mib_per_s=65536))
    await load(ollama, "phi4:14b")
    [model] = await ollama.ps()
    assert model["size_vram"] == 8192 << 20
    assert model["size"] >= SIZES["phi4:14b"] << 20  # and the CPU's buffers


async def test_memory_that_another_program_takes_is_missed(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(LOADED_FAST)
    ollama.set_used_mib(20000)
    await load(ollama, "phi4:14b")
    [model] = await ollama.ps()
    assert model["size_vram"] == (24576 - 20000) << 20


async def test_a_start_that_fails_tells_why(start_ollama: "StartOllama") -> None:
    first = await start_ollama(models=())
    with pytest.raises(OllamaProcessError, match="address already in use"):
        await start_ollama(RealOllamaOptions(port=first.port), models=())


async def test_two_instances_at_once_do_not_share_a_gpu(start_ollama: "StartOllama") -> None:
    first, second = await start_ollama(LOADED_FAST), await start_ollama(LOADED_FAST)
    await load(first, "gemma3:27b")
    await load(second, "gemma3:27b")
    for ollama in (first, second):
        [model] = await ollama.ps()
        assert model["size_vram"] == model["size"]


async def test_stop_leaves_no_process(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(LOADED_FAST)
    await load(ollama, "llama3.2:1b")
    pids = ollama.processes()
    assert len(pids) >= 2  # Ollama and a runner
    await ollama.stop()
    assert not living(pids)


async def test_kill_takes_the_runners_along_and_a_restart_keeps_port_and_models(start_ollama: "StartOllama") -> None:
    ollama = await start_ollama(LOADED_FAST)
    await load(ollama, "llama3.2:1b")
    pids = ollama.processes()
    await ollama.kill()
    assert not living(pids)
    await ollama.start()
    await load(ollama, "llama3.2:3b")
    assert await resident(ollama) == {"llama3.2:3b"}
