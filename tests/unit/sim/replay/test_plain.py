import pytest

from proxy.sim.replay.plain import plain_csv
from proxy.sim.replay.rows import TraceError


def read(tmp_path, text):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    return plain_csv(path)


def test_seconds_and_models_make_a_trace(tmp_path):
    trace = read(tmp_path, "at,model,service_seconds\n100,Qwen3:8b,2.5\n90,llama3.2,1\n")
    assert trace.ids == ("llama3.2:latest", "qwen3:8b")
    assert [tuple(arrival) for arrival in trace.arrivals] == [(0, 0, 1), (10, 1, 2.5)]


def test_without_service_seconds_answers_take_no_time(tmp_path):
    assert read(tmp_path, "model,at\na:b,5\n").arrivals[0].service_seconds == 0


def test_dates_are_utc_unless_they_say_otherwise(tmp_path):
    trace = read(
        tmp_path, "at,model\n2026-08-01T09:30:00,a:b\n2026-08-01T11:30:30+02:00,a:b\n2026-08-01 09:31:00Z,a:b\n"
    )
    assert [arrival.at for arrival in trace.arrivals] == [0, 30, 60]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("yesterday,a", "mine.csv:2:1: at: expected seconds or a date and time such as 2026-08-01T09:30:00Z"),
        ("2026-13-01,a", "mine.csv:2:1: at: expected seconds or a date and time"),
        ("-5,a", "mine.csv:2:1: at: expected seconds"),
        ("5,", r"mine.csv:2:3: model: expected a name \(got ''\)"),
    ],
)
def test_what_is_no_request_is_refused_with_line_and_column(tmp_path, line, message):
    with pytest.raises(TraceError, match=message):
        read(tmp_path, f"at,model\n{line}\n")
