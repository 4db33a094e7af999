"""What a client may do, by groups and by the models that exist for it."""

import pytest

from proxy.domain.access import EVERYTHING, Client, Group


@pytest.mark.parametrize(
    ("patterns", "allowed", "refused"),
    [
        (["llama3*"], ["llama3:latest", "llama3.2:1b"], ["qwen3:8b", "xllama3:latest", "me/llama3:latest"]),
        (["qwen3"], ["qwen3:latest", "qwen3:8b"], ["qwen3.5:8b"]),
        (["qwen3:8b", "*:1b"], ["qwen3:8b", "llama3.2:1b"], ["qwen3:14b"]),
        (["hf.co/Me/*"], ["hf.co/me/x:q4_k_m"], ["hf.co/you/x:q4_k_m"]),
        (["*"], ["anything:at-all", "a/b/c:d"], []),
        ([], [], ["llama3:latest", ""]),
    ],
)
def test_only_the_models_that_a_pattern_matches_exist(
    patterns: list[str], allowed: list[str], refused: list[str]
) -> None:
    client = Client("alice", EVERYTHING, tuple(patterns))
    assert client.is_limited
    assert [model for model in allowed + refused if client.may_name(model)] == allowed


def test_without_patterns_every_model_exists() -> None:
    client = Client("alice", EVERYTHING)
    assert client.may_name("whatever:latest")
    assert not client.is_limited
    assert Client("alice", frozenset({Group.USE})).is_limited
