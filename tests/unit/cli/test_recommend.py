import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.domain.settings import NumCtx
from proxy.settings import SettingsFile
from proxy.store.database import Database
from tests.unit.sim.replay.test_history import ROW

# five models of 2 to 6 GB that fit in together, in turns every ten minutes
MODELS = ("llama3.2:3b", "qwen3:4b", "gemma3:4b", "mistral:7b", "qwen3:8b")
CSV = "at,model\n" + "".join(f"{600 * at},{MODELS[at % 5]}\n" for at in range(40))
SETTINGS = "# mine\nmemory:\n  max_models: 3  # as Ollama\n"


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """No settings and no history but those of the test."""
    monkeypatch.setenv("KEEPWARM_CONFIG", str(tmp_path / "keepwarm.yaml"))
    monkeypatch.setenv("KEEPWARM_STORE_PATH", str(tmp_path / "usage.sqlite"))
    (tmp_path / "keepwarm.yaml").write_text(SETTINGS)
    (tmp_path / "mine.csv").write_text(CSV)


def run(*arguments):
    command = ["recommend", *map(str, arguments), "--gpu", "48GiB", "--seeds", "1"]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def test_each_setting_has_its_evidence(tmp_path):
    result = run(tmp_path / "mine.csv")
    assert result.exit_code == 0
    assert result.output.startswith(f"{tmp_path / 'mine.csv'}: 40 requests in 0.3 days, replayed on 48GiB")
    assert "That is little to go by" in result.output
    for key in ("memory.max_models: 5;", "memory.budget: ", "memory.price: ", "models."):
        assert f"\n{key}" in result.output
    assert "OLLAMA_MAX_LOADED_MODELS=5" in result.output
    assert "    3 models: " in result.output
    assert "memory:\n  max_models: 5\n" in result.output  # to be pasted
    assert (tmp_path / "keepwarm.yaml").read_text() == SETTINGS


def test_what_is_recommended_is_written_and_comments_stay(tmp_path):
    result = run(tmp_path / "mine.csv", "--write")
    assert result.exit_code == 0
    assert f"written to {tmp_path / 'keepwarm.yaml'}: memory.max_models" in result.output
    text = (tmp_path / "keepwarm.yaml").read_text()
    assert text.startswith("# mine\nmemory:\n")
    assert "  max_models: 5  # as Ollama\n" in text


def test_a_file_that_cannot_be_changed_is_left_and_says_what_to_paste(tmp_path):
    (tmp_path / "keepwarm.yaml").write_text("memory: {max_models: 3}\n")
    result = run(tmp_path / "mine.csv", "--write")
    assert result.exit_code == 1
    assert "was left as it is: memory is written in braces" in result.output
    assert "memory:\n  max_models: 5\n" in result.output
    assert (tmp_path / "keepwarm.yaml").read_text() == "memory: {max_models: 3}\n"


def test_the_own_history_tells_of_contexts_too(tmp_path):
    database = Database(tmp_path / "usage.sqlite")
    options = ['{"num_ctx":4096}', '{"num_ctx":16384}']
    rows = [ROW._replace(at=600.0 * at, runner_options_json=options[at % 2]) for at in range(20)]
    database.write(rows, None, None)
    database.close()
    result = run("--write")
    assert result.exit_code == 0
    settings = SettingsFile(tmp_path / "keepwarm.yaml", {}).current
    assert settings.engine().rule_for("qwen3:8b").num_ctx is NumCtx.UNIFY
    assert settings.engine().rule_for("llama3:8b").num_ctx is NumCtx.AS_ASKED
    assert "\nnum_ctx of qwen3:8b: 16384 in every client, or num_ctx: unify in the settings\n" in result.output
    assert "it changed 19 times" in result.output


def test_without_a_history_it_says_where_one_would_be():
    result = run()
    assert result.exit_code == 1
    assert "no usage history there yet" in result.output
