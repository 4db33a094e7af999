from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.store.database import Database
from tests.unit.sim.replay.test_history import ROW

CSV = "at,model,service_seconds\n" + "".join(
    f"{900 * at},{('qwen3:14b', 'gemma3:27b', 'mine:x')[at % 3]},2\n" for at in range(24)
)
ARGUMENTS = ("--budget", "24GiB", "--seeds", "2", "--policies", "ollama,lru,adaptive")


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """No settings and no history but those of the test."""
    monkeypatch.setenv("KEEPWARM_CONFIG", str(tmp_path / "keepwarm.yaml"))
    monkeypatch.setenv("KEEPWARM_STORE_PATH", str(tmp_path / "usage.sqlite"))
    (tmp_path / "keepwarm.yaml").write_text("policy: adaptive\n")


def run(*arguments):
    return CliRunner().invoke(main, ["replay", *map(str, arguments)], catch_exceptions=False)


def written(tmp_path, text=CSV):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    return path


def history(tmp_path):
    database = Database(tmp_path / "usage.sqlite")
    models = ("qwen3:14b", "gemma3:27b")
    rows = [ROW._replace(at=900.0 * at, model=models[at % 2], wait_seconds=2.0, load_seconds=0.5) for at in range(20)]
    database.write(rows, None, None)
    database.close()


def test_a_csv_file_gives_a_sentence_and_a_table(tmp_path):
    result = run(written(tmp_path), *ARGUMENTS)
    assert result.exit_code == 0
    first, second, third, _, head, *lines = result.output.splitlines()
    assert first.startswith("24 requests in 0.2 days: with Ollama's defaults people would wait ")
    assert "of it" in first
    assert second == "Simulated: 24GiB of GPU memory, at most 3 models, requests one after another, 2 seeds."
    assert third == "Sizes and load times are not known of mine:x: drawn from a list, others for each seed."
    assert head.startswith("contender")
    assert [line.split()[0] for line in lines if line] == ["ollama", "lru", "adaptive", "bound", "bound"]


def test_without_arguments_the_own_history_is_replayed(tmp_path):
    history(tmp_path)
    result = run(*ARGUMENTS)
    assert result.exit_code == 0
    assert "20 requests" in result.output
    assert "When it happened, they waited 50s." in result.output  # 20 times 2.5 s


def test_without_a_history_it_says_where_one_would_be(tmp_path):
    result = run(*ARGUMENTS)
    assert result.exit_code == 1
    assert f"Error: {tmp_path / 'usage.sqlite'}: no usage history there yet" in result.output


def test_a_mistake_in_a_file_is_told_with_its_place(tmp_path):
    result = run(written(tmp_path, "at,model\nsoon,a\n"), *ARGUMENTS)
    assert result.exit_code == 1
    assert "mine.csv:2:1: at: expected seconds" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--policies", "lru,magic"), "expected some of ollama, forever"),
        (("--policies", "adaptive@cheap"), "(got adaptive@cheap)"),
        (("--budget", "much"), "size must look like"),
        (("--seeds", "0"), "0 is not in the range"),
    ],
)
def test_a_mistake_in_an_option_is_told(tmp_path, arguments, message):
    result = run(written(tmp_path), *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_without_any_word_on_the_memory_it_asks(tmp_path, monkeypatch):
    monkeypatch.setenv("KEEPWARM_UPSTREAM_URL", "http://192.0.2.1:11434")  # not here, so no driver is asked
    result = run(written(tmp_path))
    assert result.exit_code == 2
    assert "say --budget 24GiB" in result.output


def test_the_memory_of_the_settings_counts(tmp_path):
    (tmp_path / "keepwarm.yaml").write_text("memory:\n  budget: 10GiB\n  max_models: 2\n")
    result = run(written(tmp_path), *ARGUMENTS[2:])
    assert "Simulated: 10GiB of GPU memory, at most 2 models" in result.output


def test_a_page_is_written(tmp_path):
    page = tmp_path / "report.html"
    result = run(written(tmp_path), *ARGUMENTS, "--html", page)
    assert result.exit_code == 0
    assert f"page written: {page}" in result.output
    text = page.read_text()
    assert result.output.splitlines()[0].split(":")[0] in text
    assert "In memory with ollama" in text
    assert "In memory with adaptive" in text


def test_one_page_shows_one_source(tmp_path):
    path = written(tmp_path)
    result = run(path, path, *ARGUMENTS, "--html", tmp_path / "report.html")
    assert result.exit_code == 2
    assert not Path(tmp_path / "report.html").exists()


def test_overlapping_requests_have_no_bounds(tmp_path):
    result = run(written(tmp_path), *ARGUMENTS, "--overlapping")
    assert "requests overlapping" in result.output
    assert "bound on" not in result.output
