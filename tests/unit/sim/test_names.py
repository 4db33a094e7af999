"""Model names (OLLAMA.md 12, 14)."""

from __future__ import annotations

import pytest

from proxy.sim.names import InvalidNameError, is_cloud, parse_name


@pytest.mark.parametrize(
    "raw", ["llama3.2", "llama3.2:latest", "LLAMA3.2:Latest", "library/llama3.2", "registry.ollama.ai/library/llama3.2"]
)
def test_all_spellings_have_one_key(raw: str) -> None:
    assert parse_name(raw).key == "registry.ollama.ai/library/llama3.2:latest"


@pytest.mark.parametrize(
    ("raw", "shortest"),
    [
        ("llama3.2", "llama3.2:latest"),
        ("someone/model:8b", "someone/model:8b"),
        ("hf.co/someone/model:Q4_K_M", "hf.co/someone/model:Q4_K_M"),
        ("localhost:5000/x/model", "localhost:5000/x/model:latest"),
        ("https://registry.ollama.ai/library/model", "model:latest"),
        ("qwen3:8b:local", "qwen3:8b"),
    ],
)
def test_a_name_is_shown_without_what_goes_without_saying(raw: str, shortest: str) -> None:
    assert parse_name(raw).shortest == shortest


@pytest.mark.parametrize("raw", ["", "no such model!", "a b", "-x", "x:", "ä", "a/b/c/d e", "x" * 81])
def test_a_name_that_cannot_be_is_refused(raw: str) -> None:
    with pytest.raises(InvalidNameError):
        parse_name(raw)


@pytest.mark.parametrize(
    ("raw", "cloud"),
    [
        ("gpt-oss:20b-cloud", True),
        ("gpt-oss:cloud", True),
        ("gpt-oss:20b:CLOUD", True),
        ("my-cloud", False),
        ("my-cloud:8b", False),
        ("host:5000/x-cloud", False),
    ],
)
def test_a_cloud_model_says_so_in_its_tag(raw: str, cloud: bool) -> None:  # noqa: FBT001  a parameter of the test
    assert is_cloud(raw) is cloud
