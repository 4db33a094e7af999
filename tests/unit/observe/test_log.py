import io
import json
import logging
from collections.abc import Iterator

import pytest

from proxy.observe.log import ACCESS, FIELDS, LogFormat, set_up_logging

LOGGER = logging.getLogger("proxy.somewhere")


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for handler in handlers:
        root.removeHandler(handler)  # else set_up_logging would close pytest's own
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def set_up(level: str = "info", log_format: LogFormat = "text") -> io.StringIO:
    stream = io.StringIO()
    set_up_logging(level, log_format, stream)
    return stream


def test_a_text_line_tells_time_level_logger_and_message() -> None:
    stream = set_up()
    LOGGER.warning("disk is %s", "full")
    time, rest = stream.getvalue().split(" ", 1)
    assert rest == "WARNING proxy.somewhere: disk is full\n"
    assert len(time) == len("2025-01-31T12:00:00.123Z")
    assert time.endswith("Z")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("separator", ["\n", "\r", "\x1b[2K", "\u2028", "\x85", "\u202e", "\x00", "\ud800"])
def test_a_model_name_cannot_begin_a_line_of_its_own(separator: str, log_format: LogFormat) -> None:
    stream = set_up(log_format=log_format)
    LOGGER.info("load %s", f"llama{separator}forged")
    (line,) = stream.getvalue().splitlines()
    assert separator not in line
    assert line.encode()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_stays_in_its_line(log_format: LogFormat) -> None:
    stream = set_up(log_format=log_format)
    try:
        int("first\nsecond")
    except ValueError:
        LOGGER.exception("it failed")
    (line,) = stream.getvalue().splitlines()
    assert "Traceback" in line
    assert "ValueError: invalid literal for int" in line


def test_letters_of_any_language_are_printed_as_they_are() -> None:
    stream = set_up()
    LOGGER.info("Modell größer als 模型")
    assert "Modell größer als 模型" in stream.getvalue()


def test_a_json_line_carries_the_fields_of_a_decision() -> None:
    stream = set_up(log_format="json")
    LOGGER.info("unload a", extra={FIELDS: {"effect": "unload", "model": "a"}})
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "proxy.somewhere",
        "message": "unload a",
        "effect": "unload",
        "model": "a",
    }


def test_records_below_the_level_are_dropped() -> None:
    stream = set_up("warning")
    LOGGER.info("quiet")
    assert stream.getvalue() == ""


def test_a_second_set_up_replaces_the_first() -> None:
    first, second = set_up(), set_up()
    LOGGER.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


@pytest.mark.parametrize(("access", "written"), [(True, 1), (False, 0)])
def test_the_access_log_is_written_where_it_is_asked_for_whatever_the_level(access: bool, written: int) -> None:  # noqa: FBT001 - a test's parameter
    stream = io.StringIO()
    set_up_logging("error", "text", stream, access=access)
    logging.getLogger(ACCESS).info("request 1")
    assert stream.getvalue().count("request 1") == written
