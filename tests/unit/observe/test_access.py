import logging
from collections.abc import Iterator

import pytest

from proxy.domain.effects import Forward, KeepAlive, Outcome
from proxy.domain.events import AnswerFigures, Ending, PassthroughEnded, Tick
from proxy.domain.timeline import FinishedRequest
from proxy.observe.access import log_access
from proxy.observe.log import ACCESS, FIELDS
from tests.unit.observe.samples import NOW, finished

TICK = Tick(NOW)
REQUEST = finished(figures=AnswerFigures(prompt_tokens=100, generated_tokens=40))._replace(
    request_id=17, forward=Forward(17, Outcome.WARM, 2832, "used 31/h")
)


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The access log as `log.access` switches it on; what the tests before left is of no matter."""
    logger = logging.getLogger(ACCESS)
    before, logger.disabled = logger.disabled, False
    caplog.set_level(logging.INFO, ACCESS)
    yield caplog
    logger.disabled = before


def test_a_model_request_is_one_line_with_all_that_it_met(log: pytest.LogCaptureFixture) -> None:
    log_access(TICK, [REQUEST])
    (record,) = log.records
    assert record.message == (
        "request 17: POST /api/chat llama3:latest 200 warm, waited 4.000 s, first byte 4.500 s, all 9.000 s, "
        "keep_alive 47m12s"
    )
    assert getattr(record, FIELDS) == {
        "request_id": 17,
        "method": "POST",
        "path": "/api/chat",
        "model": "llama3:latest",
        "client": "keyless",
        "outcome": "warm",
        "ending": "answered",
        "status": 200,
        "wait_seconds": 4.0,
        "ttft_seconds": 4.5,
        "e2e_seconds": 9.0,
        "keep_alive": 2832,
        "prompt_tokens": 100,
        "generated_tokens": 40,
    }


def test_whoever_has_a_key_is_named(log: pytest.LogCaptureFixture) -> None:
    log_access(TICK, [REQUEST._replace(client="kitchen")])
    (record,) = log.records
    assert record.message.startswith("request 17: POST /api/chat llama3:latest by kitchen 200 warm, ")
    assert getattr(record, FIELDS)["client"] == "kitchen"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (REQUEST._replace(forward=Forward(17, Outcome.COLD, KeepAlive.AS_IT_CAME, "")), "keep_alive as_it_came"),
        (REQUEST._replace(forward=None, ttft_seconds=None), "waited 4.000 s, all 9.000 s"),
        (REQUEST._replace(ending=Ending.CLIENT_GONE, status=0), "llama3:latest client_gone warm"),
        (REQUEST._replace(ending=Ending.UPSTREAM_ERROR, status=502), "llama3:latest upstream_error warm"),
    ],
)
def test_what_did_not_happen_is_left_out_and_what_went_wrong_stands_for_the_status(
    request_: FinishedRequest, words: str, log: pytest.LogCaptureFixture
) -> None:
    log_access(TICK, [request_])
    (record,) = log.records
    assert words in record.message


def test_a_request_that_runs_no_model_is_one_line_too(log: pytest.LogCaptureFixture) -> None:
    log_access(PassthroughEnded(NOW, "GET", "/api/tags", 200, Ending.ANSWERED, 0.0031), [])
    (record,) = log.records
    assert record.message == "GET /api/tags 200, all 0.003 s"
    assert getattr(record, FIELDS) == {
        "method": "GET",
        "path": "/api/tags",
        "ending": "answered",
        "status": 200,
        "e2e_seconds": 0.0031,
    }


def test_what_a_client_made_up_is_cut(log: pytest.LogCaptureFixture) -> None:
    log_access(PassthroughEnded(NOW, "GET", "/" + "x" * 60_000, 404, Ending.ANSWERED, 0.0), [])
    log_access(TICK, [REQUEST._replace(model="x" * 60_000, known=False)])
    assert [len(record.message) < 400 for record in log.records] == [True, True]
    assert all(len(str(getattr(record, FIELDS))) < 600 for record in log.records)


def test_nothing_is_written_where_nobody_asked_for_it(log: pytest.LogCaptureFixture) -> None:
    logging.getLogger(ACCESS).disabled = True
    log_access(PassthroughEnded(NOW, "GET", "/api/tags", 200, Ending.ANSWERED, 0.0), [REQUEST])
    assert log.records == []
