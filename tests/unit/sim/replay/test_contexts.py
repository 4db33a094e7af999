from proxy.sim.replay.contexts import context_advice
from tests.unit.sim.replay.test_history import ROW


def rows(*asked):
    for at, (model, num_ctx) in enumerate(asked):
        options = "{}" if num_ctx is None else f'{{"num_ctx":{num_ctx}}}'
        yield ROW._replace(at=float(at), model=model, runner_options_json=options)


def test_clients_that_disagree_are_told_the_longest():
    [advice] = context_advice(rows(("a", 4096), ("a", 8192), ("b", 4096), ("a", 4096), ("a", 4096), ("b", 4096)))
    assert (advice.model, advice.num_ctx) == ("a", 8192)
    assert advice.evidence == (
        "asked for with 4096 (3 requests), 8192 (1 requests);"
        " it changed 2 times, each time Ollama loads the model again"
    )


def test_automatic_and_a_number_disagree_too():
    [advice] = context_advice(rows(("a", None), ("a", 8192)))
    assert advice.num_ctx == 8192
    assert "automatic (1 requests)" in advice.evidence


def test_who_agrees_needs_no_advice():
    assert not context_advice(rows(("a", 4096), ("b", 8192), ("a", 4096), ("c", None)))


def test_what_v1_carries_is_not_read():
    v1 = [row._replace(endpoint="/v1/chat/completions") for row in rows(("a", 4096), ("a", 8192))]
    assert not context_advice(v1)
