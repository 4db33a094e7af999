import json
import sqlite3

import pytest

from proxy.policy import UsageBook
from proxy.sim.replay.history import history_models, history_rows, history_trace
from proxy.sim.replay.rows import TraceError
from proxy.store.database import Database
from proxy.store.row import RequestRow

ROW = RequestRow(
    at=1000.0,
    model="qwen3:8b",
    endpoint="/api/chat",
    runner_options_json="{}",
    outcome="cold",
    ending="answered",
    status=200,
    ttft_seconds=4.0,
    e2e_seconds=9.0,
    wait_seconds=3.0,
    load_seconds=1.0,
    prompt_tokens=None,
    generated_tokens=None,
    prompt_seconds=None,
    generation_seconds=None,
)


@pytest.fixture
def history(tmp_path):
    database = Database(tmp_path / "usage.sqlite")
    others = [
        ROW._replace(at=1010.0, outcome="warm", wait_seconds=0.0, load_seconds=None, e2e_seconds=2.0, model="a:b"),
        ROW._replace(at=1020.0, outcome="passthrough", model="some:cloud"),
    ]
    database.write([ROW, *others], None, None)
    database.close()
    return database.path


def test_a_history_is_read_without_what_passed_through(history):
    trace = history_trace(history)
    assert trace.ids == ("a:b", "qwen3:8b")
    # 9 s less 3 s held and 1 s that Ollama loaded; then 2 s
    assert [tuple(arrival) for arrival in trace.arrivals] == [(0, 1, 5), (10, 0, 2)]


def test_only_what_is_recent_enough_is_read(history):
    assert [row.at for row in history_rows(history, since=1005.0)] == [1010, 1020]


def test_nothing_is_written_to_it(history):
    before = history.read_bytes()
    history_trace(history)
    assert history.read_bytes() == before


def test_a_history_that_is_not_there_is_refused_and_not_made(tmp_path):
    with pytest.raises(TraceError, match=r"usage\.sqlite: no usage history there yet"):
        history_trace(tmp_path / "usage.sqlite")
    assert not list(tmp_path.iterdir())


def test_what_is_no_history_is_refused(tmp_path):
    text, other = tmp_path / "text.sqlite", tmp_path / "other.sqlite"
    text.write_text("at,model\n" * 100)
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE things (name TEXT)")
    connection.close()
    for path in (text, other):
        with pytest.raises(TraceError, match=f"{path.name}: expected a usage history of keepwarm"):
            history_trace(path)


def test_an_empty_history_is_refused(tmp_path):
    database = Database(tmp_path / "usage.sqlite")
    database.connect()
    database.close()
    with pytest.raises(TraceError, match="expected at least one request"):
        history_trace(database.path)


def saved(tmp_path, state):
    database = Database(tmp_path / "usage.sqlite")
    database.write([ROW], (1, json.dumps(state)), None)
    database.close()
    return database.path


def test_models_have_the_sizes_and_load_times_that_were_learnt(tmp_path):
    book = UsageBook()
    for model in ("seen:x", "unseen:x", "unsized:x"):
        book.arrived(model, 1.0)
    book.loaded("seen:x", 4.0, file_bytes=0, page_cache_warm=False)  # of no known size: says nothing of others
    book.loaded("seen:x", 1.0, file_bytes=0, page_cache_warm=True)
    models = history_models(saved(tmp_path, {**book.to_state(), "bytes": {"seen:x": 10**9, "unseen:x": 5 * 10**9}}))
    assert {name: (model.bytes, model.load_seconds) for name, model in models.items()} == {
        "seen:x": (10**9, 4.0),
        "unseen:x": (5 * 10**9, UsageBook().load_seconds("", file_bytes=5 * 10**9, page_cache_warm=False)),
    }


def test_a_history_without_statistics_knows_no_models(history):
    assert not history_models(history)


@pytest.mark.parametrize("state", [{"version": 99}, "no mapping", {**UsageBook().to_state(), "bytes": {"a": "big"}}])
def test_statistics_that_are_none_are_refused(tmp_path, state):
    with pytest.raises(TraceError, match=r"usage\.sqlite: expected a usage history of keepwarm with statistics"):
        history_models(saved(tmp_path, state))
