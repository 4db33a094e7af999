"""Durations and token counts from the end of an answer that streams by."""

import json

import pytest

from proxy.domain.events import AnswerFigures
from proxy.upstream.figures import AnswerTail

LAST = (
    b'{"model":"a","created_at":"2026-08-01T00:00:00Z","response":"","done":true,"done_reason":"stop",'
    b'"total_duration":9000000000,"load_duration":1500000000,"prompt_eval_count":26,'
    b'"prompt_eval_duration":250000000,"eval_count":290,"eval_duration":4000000000}\n'
)
OF_LAST = AnswerFigures(
    load_seconds=1.5, prompt_tokens=26, prompt_seconds=0.25, generated_tokens=290, generation_seconds=4.0
)


def figures(*chunks: bytes) -> AnswerFigures:
    tail = AnswerTail()
    for chunk in chunks:
        tail.add(chunk)
    return tail.figures()


def test_the_last_object_tells_durations_in_seconds_and_tokens() -> None:
    assert figures(b'{"response":"Hi","done":false}\n', LAST) == OF_LAST


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
def test_it_may_be_split_over_chunks_anywhere(size: int) -> None:
    assert figures(*(LAST[at : at + size] for at in range(0, len(LAST), size))) == OF_LAST


def test_nothing_known_is_none() -> None:
    assert figures() == figures(b"") == figures(b'{"error":"model not found"}') == AnswerFigures()


@pytest.mark.parametrize("before", [1, 4095, 4096, 4097, 10**6])
def test_a_long_answer_before_it_in_one_chunk_or_in_many_changes_nothing(before: int) -> None:
    text = b"x" * before
    assert figures(text + LAST) == figures(text, LAST) == figures(*[b"x"] * min(before, 9000), LAST) == OF_LAST


def test_the_context_before_the_durations_may_be_long() -> None:
    context = b'"context":[' + b",".join(b"%d" % token for token in range(100_000)) + b'],"total_duration"'
    assert figures(LAST.replace(b'"total_duration"', context)) == OF_LAST


def test_what_is_remembered_stays_small() -> None:
    tail = AnswerTail()
    for _ in range(10_000):
        tail.add(b"y" * 1000)
    tail.add(b"z" * 10**6)
    assert sum(map(len, tail._chunks)) < 3 * 4096  # noqa: SLF001 - the promise is about what is inside


@pytest.mark.parametrize(
    "text", ['"eval_count":7', '{"eval_count": 7, "eval_duration": 7}', '\\"eval_count\\":7', '","eval_count":7,"x":"']
)
def test_a_text_cannot_pretend_to_be_a_field(text: str) -> None:
    chunk = json.dumps({"response": text, "done": False}).encode() + b"\n"
    assert figures(chunk) == AnswerFigures()
    assert figures(LAST[:-2] + b',"response":' + json.dumps(text).encode() + b"}\n") == OF_LAST


def test_a_text_cannot_pretend_to_be_a_field_where_the_tail_cuts_it() -> None:
    text = json.dumps({"response": '"eval_count":7 ' * 1000}).encode()
    for shift in range(20):
        assert figures(text + b" " * shift) == AnswerFigures()


def test_a_tools_arguments_are_not_the_answers_figures() -> None:
    """Arguments of a tool call are an object in Ollama's and Anthropic's APIs, whatever their names."""
    call = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"eval_count":7,"prompt_tokens":8}}}]}}\n'
    assert figures(call, LAST) == OF_LAST
    use = b'{"type":"message","content":[{"type":"tool_use","input":{"eval_count":7,"prompt_eval_count":8}}],'
    assert figures(use + b'"usage":{"input_tokens":3,"output_tokens":5}}') == AnswerFigures(
        prompt_tokens=3, generated_tokens=5
    )


def test_a_key_that_only_ends_like_a_field_is_none() -> None:
    assert figures(rb'{"x\"eval_count":7,"xeval_count":7,"eval_counts":7}') == AnswerFigures()


def test_log_probabilities_behind_the_durations_do_not_hide_them() -> None:
    """In an answer of /api/generate that is not streamed they come last, some 100 bytes a token."""
    line = b'{"token":"the","logprob":-0.12345678,"bytes":[116,104,101],"top_logprobs":[]}'
    answer = LAST[:-2] + b',"logprobs":[' + b",".join([line] * 290) + b"]}"
    assert figures(answer) == OF_LAST


def test_the_usage_of_the_openai_endpoints_counts_tokens() -> None:
    usage = b'{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46,"prompt_tokens_details":{"cached_tokens":5}}'
    expected = AnswerFigures(prompt_tokens=12, generated_tokens=34)
    assert figures(b'{"id":"x","choices":[],"usage":' + usage + b"}") == expected
    assert figures(b'data: {"choices":[],"usage":' + usage + b"}\n\n", b"data: [DONE]\n\n") == expected


def test_the_usage_of_responses_and_messages_counts_tokens() -> None:
    responses = b'"usage":{"input_tokens":12,"input_tokens_details":{"cached_tokens":0},"output_tokens":34,"total":46}'
    start = b'event: message_start\ndata: {"message":{"usage":{"input_tokens":12,"output_tokens":0}}}\n\n'
    delta = b'event: message_delta\ndata: {"usage":{"input_tokens":12,"output_tokens":34}}\n\n'
    expected = AnswerFigures(prompt_tokens=12, generated_tokens=34)
    assert figures(b'data: {"response":{' + responses + b"}}\n\n") == expected
    assert figures(start, delta, b'event: message_stop\ndata: {"type":"message_stop"}\n\n') == expected


def test_white_space_within_the_object_is_no_hindrance() -> None:
    assert figures(b'{ "eval_count" : 5 ,\n "eval_duration"\t:\t1000000000 }') == AnswerFigures(
        generated_tokens=5, generation_seconds=1.0
    )


@pytest.mark.parametrize(
    "end",
    [
        b'data: {"choices":[]}\n\ndata: [DONE]\n\n',
        b'{"model":"a","response":"","done":true,"done_reason":"stop"}\n',
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        b'event: response.completed\ndata: {"type":"response.completed"}\n\n',
    ],
)
def test_a_stream_that_said_its_last_words_is_complete(end: bytes) -> None:
    tail = AnswerTail()
    tail.add(b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n')
    assert not tail.complete()
    tail.add(end)
    assert tail.complete()


@pytest.mark.parametrize(
    "piece",
    [
        b'{"response":"\\"done\\":true \\ndata: [DONE]\\nevent: message_stop","done":false}\n',
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"done":true}}}]},"done":false}\n',
    ],
)
def test_what_is_generated_cannot_say_the_last_words(piece: bytes) -> None:
    tail = AnswerTail()
    tail.add(piece)
    assert not tail.complete()


@pytest.mark.parametrize("size", [100, 1000, 4096, 10**6])
def test_the_last_event_of_responses_is_one_however_long_the_answer_that_it_repeats(size: int) -> None:
    event = b'event: response.completed\ndata: {"response":{"output":[{"text":"' + b"Hi " * 5000
    event += b'"}],"status":"completed"},"sequence_number":9,"type":"response.completed"}\n\n'
    tail = AnswerTail()
    tail.add(b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta"}\n\n')
    for at in range(0, len(event), size):
        assert not tail.complete()
        tail.add(event[at : at + size])
    assert tail.complete()


@pytest.mark.parametrize("rest", [300, 5000])
def test_an_end_that_is_longer_than_what_is_remembered_is_one(rest: int) -> None:
    tail = AnswerTail()
    tail.add(b'{"response":"Hi","done":false}\n')
    context = b'"context":[' + b",".join([b"12345"] * 3000) + b'],"total_duration"'
    last = LAST.replace(b'"total_duration"', context)
    tail.add(last[:-rest])
    tail.add(last[-rest:])
    assert tail.complete()
