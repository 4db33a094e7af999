from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.settings import in_force, load

if TYPE_CHECKING:
    from pathlib import Path


def test_settings_are_shown_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "keepwarm.yaml"
    file.write_text("memory: {price: 50ms}\nmodels:\n  'qwen*': {max: 2h, pin: true}\n")
    shown = in_force(load(file, {}))
    assert shown["memory.price"] == "50ms"
    assert shown["memory.budget"] == "auto"
    assert {key: value for key, value in shown.items() if key.startswith("models.")} == {
        "models.qwen*.pin": "true",
        "models.qwen*.max": "2h",
    }


def test_of_access_only_weights_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "keepwarm.yaml"
    file.write_text(f"access:\n  keys:\n    alice: {'ab' * 32}\n  weights:\n    alice: 3\n")
    shown = in_force(load(file, {}))
    assert {key: value for key, value in shown.items() if key.startswith("access")} == {"access.weights.alice": "3.0"}


def test_nothing_is_shown_but_what_decisions_depend_on_and_where_ollama_is(tmp_path: Path) -> None:
    shown = in_force(load(None, {"KEEPWARM_STORE_PATH": str(tmp_path / "usage.sqlite")}))
    sections = {key.partition(".")[0] for key in shown}
    keys = {"policy", "memory", "keep_alive", "client_keep_alive", "num_ctx", "max_wait", "residency"}
    assert sections == {"upstream", *keys}
