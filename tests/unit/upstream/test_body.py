"""What of a model request's body is read, and that writing keep_alive into it touches nothing else."""

import pytest

from proxy.domain.effects import KeepAlive
from proxy.domain.model import Endpoint, ModelRequest, RunnerOptions
from proxy.upstream.body import ModelBody

KELVIN, LONG_S = "\u212a", "\u017f"  # the two characters beyond ASCII that Go's encoding/json folds into ASCII ones


def read(content: bytes | str, endpoint: Endpoint = Endpoint.CHAT) -> ModelRequest:
    return ModelBody(endpoint, content if isinstance(content, bytes) else content.encode()).request


def written(content: bytes | str, keep_alive: int | KeepAlive = 300, endpoint: Endpoint = Endpoint.CHAT) -> bytes:
    return ModelBody(endpoint, content if isinstance(content, bytes) else content.encode()).with_values(keep_alive)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"a","keep_alive":"5m"}', b'{"model":"a","keep_alive":300}'),
        (b'{"keep_alive":-1,"model":"a"}', b'{"keep_alive":300,"model":"a"}'),
        (b'{"model":"a","keep_alive" :\n null \t}', b'{"model":"a","keep_alive" :\n 300 \t}'),
        (b'{"model":"a","keep_alive":1.5e-3}', b'{"model":"a","keep_alive":300}'),
        (b'{"model":"a","keep_alive":false}', b'{"model":"a","keep_alive":300}'),
        (b'{"model":"a","keep_alive":"a \\" b, \\\\"}', b'{"model":"a","keep_alive":300}'),
        (b'{"model":"a","keep_alive":{"x":["}"]}}', b'{"model":"a","keep_alive":300}'),
        (b'{"model":"a","keep_alive":[1,"]",{}],"x":1}', b'{"model":"a","keep_alive":300,"x":1}'),
    ],
)
def test_a_keep_alive_of_any_kind_is_replaced_where_it_stands(before: bytes, after: bytes) -> None:
    assert written(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"a"}', b'{"model":"a","keep_alive":300}'),
        (b'{"model":"a"}\n', b'{"model":"a","keep_alive":300}\n'),
        (b' {"model":"a" } \r\n\t', b' {"model":"a" ,"keep_alive":300} \r\n\t'),
        (b'{"model":"a","x":"}"}', b'{"model":"a","x":"}","keep_alive":300}'),
        (b'{"model":"a","x":{}}', b'{"model":"a","x":{},"keep_alive":300}'),
        (b'{"model":"a{"}', b'{"model":"a{","keep_alive":300}'),
    ],
)
def test_a_body_without_keep_alive_gets_it_at_its_end(before: bytes, after: bytes) -> None:
    assert written(before) == after


@pytest.mark.parametrize(
    "key",
    ["Keep_Alive", "KEEP_ALIVE", "keep\\u005falive", "\\u006Beep_alive", f"{KELVIN}eep_alive", "\\u212aEEP_ALIVE"],
)
def test_the_key_counts_in_every_spelling_that_go_takes_for_it(key: str) -> None:
    assert written(f'{{"model":"a","{key}":"9h"}}') == f'{{"model":"a","{key}":300}}'.encode()
    assert read(f'{{"model":"a","{key}":"9h"}}').keep_alive == 9 * 3600


@pytest.mark.parametrize("key", ["keep-alive", "keepalive", "keep_alive ", "keep_alivé", "_keep_alive", ""])
def test_a_key_that_only_looks_alike_stays_as_it_is(key: str) -> None:
    assert written(f'{{"model":"a","{key}":1}}') == f'{{"model":"a","{key}":1,"keep_alive":300}}'.encode()


def test_every_one_of_repeated_keys_gets_our_value() -> None:
    before = b'{"keep_alive":1,"model":"a","KEEP_ALIVE":"2m","Keep_alive":null}'
    assert written(before) == b'{"keep_alive":300,"model":"a","KEEP_ALIVE":300,"Keep_alive":300}'


@pytest.mark.parametrize(
    "rest",
    [
        b'"messages":[{"role":"user","content":"hi","keep_alive":"1h"}]',
        b'"tools":[{"function":{"parameters":{"properties":{"keep_alive":{"type":"string"}}}}}]',
        b'"options":{"keep_alive":7,"num_ctx":4096}',
        b'"prompt":"{\\"keep_alive\\":1}"',
        b'"x":["keep_alive",1]',
    ],
)
def test_a_nested_keep_alive_is_nobodys_business(rest: bytes) -> None:
    assert written(b'{"model":"a",' + rest + b"}") == b'{"model":"a",' + rest + b',"keep_alive":300}'
    assert read(b'{"model":"a",' + rest + b"}").keep_alive is None


@pytest.mark.parametrize(
    "odd",
    [
        b'"seed": 123456789012345678901234567890',
        b'"x":1E+0000400',
        b'"x":-0.0',
        b'"x":"\\u00e9\\/\\ud83d\\ude00\\n"',
        '"x":"ü😀"'.encode(),
        b'"x"  :\t[ 1 ,2,{ } ]',
        b'"b":1,"a":2,"b":3',
        b'"x":"\xff\xfe is no UTF-8, which Go takes all the same"',
        b'"x":"\\\\"',
        b'"x":"\\\\\\""',
    ],
)
def test_every_other_byte_stays(odd: bytes) -> None:
    assert written(b'{"keep_alive":1,' + odd + b',"model":"a"}') == b'{"keep_alive":300,' + odd + b',"model":"a"}'
    assert written(b'{"model":"a", ' + odd + b" }") == b'{"model":"a", ' + odd + b' ,"keep_alive":300}'


def test_half_a_character_in_a_text_does_not_hide_the_request() -> None:
    """JavaScript cuts texts in the middle of an emoji, and Go reads what it then writes."""
    content = b'{"model":"a","messages":[{"content":"cut here: \\ud83d"}],"options":{"stop":["\\udc00"],"num_ctx":512}}'
    assert read(content).options == RunnerOptions((("num_ctx", 512),))
    assert written(content) == content[:-1] + b',"keep_alive":300}'


def test_a_keep_alive_for_ever_is_written_as_a_number() -> None:
    assert written(b'{"model":"a"}', -1) == b'{"model":"a","keep_alive":-1}'
    assert written(b'{"model":"a"}', 0) == b'{"model":"a","keep_alive":0}'


def test_withheld_makes_every_keep_alive_null_and_adds_none() -> None:
    before = b'{"model":"a","keep_alive":5,"KEEP_ALIVE":"5m","options":{"keep_alive":1}}'
    after = b'{"model":"a","keep_alive":null,"KEEP_ALIVE":null,"options":{"keep_alive":1}}'
    assert written(before, KeepAlive.WITHHELD) == after
    assert written(b'{"model":"a"}', KeepAlive.WITHHELD) == b'{"model":"a"}'


def test_as_it_came_is_the_very_same_body() -> None:
    before = b'{ "model":"a","keep_alive":5,"keep_alive":"5m"}'
    assert written(before, KeepAlive.AS_IT_CAME) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"{",
        b"{}",
        b"null",
        b"[]",
        b'["model","a"]',
        b'"model"',
        b'{"model":"a"',
        b"{'model':'a'}",
        b'{"model":"a",}',
        b'{"model":"a" "x":1}',
        b'{"model":NaN}',
        b"\x1f\x8b\x08\x00gzip",
        b'\xef\xbb\xbf{"model":"a"}',  # Go refuses a byte order mark as well
        b'{"prompt":"hi"}',
        b'{"model":""}',
        b'{"model":"  "}',
        b'{"model":null}',
        b'{"model":7}',
        b'{"model":{"model":"a"}}',
        b'{"options":{"model":"a"}}',
        b'{"model":"a","model":7}',
    ],
)
def test_what_is_no_json_or_names_no_model_is_not_ours(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no JSON object|names no model"):
        ModelBody(Endpoint.CHAT, content)


@pytest.mark.parametrize(
    "number", [b"1" * 400, b"-" + b"9" * 5000, b"1e400", b"0." + b"3" * 5000], ids=lambda number: f"{len(number)}"
)
@pytest.mark.parametrize("place", [b'"keep_alive":%b', b'"options":{"num_ctx":%b}', b'"options":{"seed":%b}'])
def test_a_number_beyond_all_measure_is_either_read_or_not_ours(number: bytes, place: bytes) -> None:
    content = b'{"model":"a",' + place % number + b"}"
    try:
        body = ModelBody(Endpoint.CHAT, content)
    except ValueError:
        return
    assert body.request.model == "a:latest"
    assert body.with_values(KeepAlive.AS_IT_CAME) == content


@pytest.mark.parametrize(
    ("content", "model"),
    [
        (b'{"model":"a"}', "a:latest"),
        (b'{"MODEL":"Library/Llama3.2:1B"}', "llama3.2:1b"),
        (b'{"m\\u006fdel":"a"}', "a:latest"),
        (b'{"model":"a","model":"b"}', "b:latest"),
        (b'{"model":"a","Model":null}', "a:latest"),
        (b'{"model":"hf.co/u/m\\u00fc:q4"}', "hf.co/u/mü:q4"),
        (b'{"model":" a "}', "a:latest"),
    ],
)
def test_the_model_is_the_one_that_go_would_read(content: bytes, model: str) -> None:
    assert read(content).model == model


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"300", 300),
        (b"-1", -1),
        (b"0", 0),
        (b"2.5", 2.5),
        (b'"5m"', 300),
        (b'"1h30m"', 5400),
        (b'"-1s"', -1),
        (b'"0"', 0),
        (b"null", None),
        (b'"-1"', None),
        (b'"5"', None),
        (b'""', None),
        (b"true", None),
        (b"[]", None),
    ],
)
def test_what_the_client_asks_for_is_read_as_ollama_reads_it(value: bytes, seconds: float | None) -> None:
    assert read(b'{"model":"a","keep_alive":' + value + b"}").keep_alive == seconds


def test_of_repeated_keep_alives_the_last_is_what_the_client_asks_for() -> None:
    assert read(b'{"model":"a","keep_alive":1,"KEEP_ALIVE":"2m"}').keep_alive == 120
    assert read(b'{"model":"a","keep_alive":1,"KEEP_ALIVE":null}').keep_alive is None


def test_only_the_runners_options_are_kept_and_equal_ones_are_equal() -> None:
    one = read(b'{"model":"a","options":{"temperature":1,"num_ctx":8192,"use_mmap":true,"stop":["x"]},"shift":false}')
    other = read(b'{"shift":false,"options":{"use_mmap":true,"num_ctx":8192.0,"seed":5},"model":"a"}')
    assert one.options == other.options == RunnerOptions((("num_ctx", 8192), ("use_mmap", True)), shift=False)


def test_repeated_options_merge_and_null_drops_them_as_go_does() -> None:
    two = b'{"model":"a","options":{"num_ctx":1,"num_gpu":2},"OPTIONS":{"num_ctx":3}}'
    assert read(two).options == RunnerOptions((("num_ctx", 3), ("num_gpu", 2)))
    assert read(two[:-1] + b',"options":null}').options == RunnerOptions()


def test_the_names_within_options_count_as_written() -> None:
    assert read(b'{"model":"a","options":{"NUM_CTX":4096}}').options == RunnerOptions()


def test_a_negative_num_gpu_is_ollamas_automatic() -> None:
    assert read(b'{"model":"a","options":{"num_gpu":-1}}').options == RunnerOptions()


@pytest.mark.parametrize(
    ("endpoint", "rest"),
    [
        (Endpoint.GENERATE, b""),
        (Endpoint.GENERATE, b',"prompt":""'),
        (Endpoint.GENERATE, b',"prompt":null'),
        (Endpoint.GENERATE, b',"prompt":"","stream":false'),
        (Endpoint.CHAT, b""),
        (Endpoint.CHAT, b',"messages":[]'),
        (Endpoint.CHAT, b',"messages":[ \n ]'),
        (Endpoint.CHAT, b',"messages":null'),
        (Endpoint.CHAT, b',"messages":[{"role":"user"}],"messages":[]'),
    ],
)
def test_an_empty_request_with_keep_alive_0_is_an_unload(endpoint: Endpoint, rest: bytes) -> None:
    assert read(b'{"model":"a","keep_alive":0' + rest + b"}", endpoint).is_unload
    assert read(b'{"model":"a","keep_alive":"0s"' + rest + b"}", endpoint).is_unload
    assert read(b'{"model":"a","keep_alive":9e-10' + rest + b"}", endpoint).is_unload  # Go counts whole nanoseconds
    assert not read(b'{"model":"a","keep_alive":1e-9' + rest + b"}", endpoint).is_unload
    assert not read(b'{"model":"a","keep_alive":1' + rest + b"}", endpoint).is_unload
    assert not read(b'{"model":"a"' + rest + b"}", endpoint).is_unload


@pytest.mark.parametrize(
    ("endpoint", "rest"),
    [
        (Endpoint.GENERATE, b',"prompt":"hi"'),
        (Endpoint.GENERATE, b',"prompt":" "'),
        (Endpoint.GENERATE, b',"prompt":"hi","prompt":null'),  # Go: null leaves a string as it is
        (Endpoint.GENERATE, b',"prompt":"[]"'),
        (Endpoint.CHAT, b',"messages":[{"role":"user","content":"hi"}]'),
        (Endpoint.CHAT, f',"me{LONG_S}{LONG_S}ages":[{{}}]'.encode()),
        (Endpoint.EMBED, b""),
        (Endpoint.EMBEDDINGS, b',"prompt":""'),
    ],
)
def test_a_request_that_asks_something_is_no_unload(endpoint: Endpoint, rest: bytes) -> None:
    assert not read(b'{"model":"a","keep_alive":0' + rest + b"}", endpoint).is_unload


def test_a_sharp_s_is_not_two_of_them_to_go() -> None:
    """Go folds rune by rune; Python's casefold would read messages here."""
    assert read('{"model":"a","keep_alive":0,"meßages":[1]}').is_unload


@pytest.mark.parametrize("endpoint", [endpoint for endpoint in Endpoint if not endpoint.carries_keep_alive])
def test_the_endpoints_that_drop_them_say_nothing_of_keep_alive_and_options(endpoint: Endpoint) -> None:
    content = b'{"model":"a","keep_alive":0,"options":{"num_ctx":1},"shift":true}'
    assert read(content, endpoint) == ModelRequest("a:latest", endpoint)


def unified(content: bytes) -> bytes:
    return ModelBody(Endpoint.CHAT, content).with_values(KeepAlive.AS_IT_CAME, 8192)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"a","options":{"num_ctx":2048}}', b'{"model":"a","options":{"num_ctx":8192}}'),
        (b'{"model":"a","Options": {"num_ctx" : 2e3 ,"x":1}}', b'{"model":"a","Options": {"num_ctx" : 8192 ,"x":1}}'),
        (
            b'{"model":"a","options":{"num_ctx":1,"num_ctx":2}}',
            b'{"model":"a","options":{"num_ctx":8192,"num_ctx":8192}}',
        ),
        (b'{"model":"a","options":{"num_ctx":null}}', b'{"model":"a","options":{"num_ctx":8192}}'),
        (b'{"model":"a","options":{"num\\u005fctx":1}}', b'{"model":"a","options":{"num\\u005fctx":8192}}'),
        (b'{"model":"a","options":{"x":{"num_ctx":1}}}', b'{"model":"a","options":{"x":{"num_ctx":1},"num_ctx":8192}}'),
    ],
)
def test_a_num_ctx_is_replaced_where_it_stands(before: bytes, after: bytes) -> None:
    assert unified(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"a"}\n', b'{"model":"a","options":{"num_ctx":8192}}\n'),
        (b'{"model":"a","options":{ }}', b'{"model":"a","options":{ "num_ctx":8192}}'),
        (b'{"model":"a","options":{"NUM_CTX":1}}', b'{"model":"a","options":{"NUM_CTX":1,"num_ctx":8192}}'),
        (
            b'{"options":{"num_ctx":1},"model":"a","options":{"x":1}}',  # merged by Ollama: the last one wins
            b'{"options":{"num_ctx":1},"model":"a","options":{"x":1,"num_ctx":8192}}',
        ),
        (
            b'{"options":{"x":1},"model":"a","options":null}',  # null has dropped x, which must not come back
            b'{"options":{"x":1},"model":"a","options":null,"options":{"num_ctx":8192}}',
        ),
    ],
)
def test_options_without_num_ctx_get_it_at_their_end(before: bytes, after: bytes) -> None:
    assert unified(before) == after


def test_options_that_ollama_refuses_are_left_to_it() -> None:
    assert unified(b'{"model":"a","options":[1]}') == b'{"model":"a","options":[1]}'


def test_keep_alive_and_num_ctx_are_added_together() -> None:
    body = ModelBody(Endpoint.CHAT, b'{"model":"a"}')
    assert body.with_values(300, 8192) == b'{"model":"a","keep_alive":300,"options":{"num_ctx":8192}}'
