import json
from typing import get_type_hints

from proxy.domain.effects import Outcome
from proxy.domain.events import AnswerFigures, Ending
from proxy.domain.model import Endpoint, RunnerOptions
from proxy.domain.timeline import FinishedRequest
from proxy.store.recorder import request_row
from proxy.store.row import RequestRow

NO_OPTIONS = RunnerOptions()


def finished(
    model: str = "llama3:latest", options: RunnerOptions = NO_OPTIONS, prompt_tokens: int | None = 100
) -> FinishedRequest:
    return FinishedRequest(
        request_id=1,
        at=1_000.0,
        model=model,
        known=True,
        endpoint=Endpoint.V1_CHAT,
        options=options,
        outcome=Outcome.COLD,
        ending=Ending.CLIENT_GONE,
        status=200,
        wait_seconds=6.2,
        ttft_seconds=6.5,
        e2e_seconds=9.0,
        figures=AnswerFigures(0.1, prompt_tokens, 0.5, 40, 2.0),
        client="alice",
    )


def test_every_figure_of_a_request_is_in_its_row() -> None:
    options = RunnerOptions((("num_gpu", 99), ("num_ctx", 8192), ("use_mmap", True)), shift=False)
    assert request_row(finished(options=options)) == RequestRow(
        at=1_000.0,
        model="llama3:latest",
        endpoint="/v1/chat/completions",
        runner_options_json='{"num_ctx":8192,"num_gpu":99,"shift":false,"use_mmap":true}',
        outcome="cold",
        ending="client_gone",
        status=200,
        ttft_seconds=6.5,
        e2e_seconds=9.0,
        wait_seconds=6.2,
        load_seconds=0.1,
        prompt_tokens=100,
        generated_tokens=40,
        prompt_seconds=0.5,
        generation_seconds=2.0,
        client="alice",
    )


def test_a_text_among_the_runner_options_is_left_out() -> None:
    options = RunnerOptions((("num_ctx", 8192), ("num_gpu", "a prompt in the wrong place")))
    assert json.loads(request_row(finished(options=options)).runner_options_json) == {"num_ctx": 8192}


def test_a_name_of_any_length_and_of_half_characters_fits() -> None:
    model = request_row(finished(model="\ud800" + "x" * 10_000)).model
    assert model == "?" + "x" * 254


def test_a_count_that_no_database_holds_is_not_kept() -> None:
    assert request_row(finished(prompt_tokens=2**63)).prompt_tokens is None
    assert request_row(finished(prompt_tokens=2**63 - 1)).prompt_tokens == 2**63 - 1


def test_a_row_holds_nothing_that_a_prompt_could_be_in() -> None:
    texts = {name for name, kind in get_type_hints(RequestRow).items() if kind is str}
    assert texts == {"model", "endpoint", "runner_options_json", "outcome", "ending", "client"}
