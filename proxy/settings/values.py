"""How each kind of value is written in the settings: reading it, writing it, checking it in an editor, asking for it.

Never knows which key a value belongs to.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import platformdirs
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from proxy.domain.access import Group
from proxy.domain.settings import POLICIES, ClientKeepAlive, NumCtx
from proxy.domain.units import exact_bytes, exact_duration, parse_bytes, parse_duration
from proxy.settings.address import DEFAULT_UPSTREAM, Address, upstream_url

AUTO: Final = "auto"
NONE: Final = "none"

_DURATION: Final = r"\+?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d))+)"
_SIZE: Final = r"[0-9]{1,19}(\.[0-9]{1,9})?(B|[KMGT]iB|[kKMGT]B)"
_SHA256: Final = r"[0-9a-fA-F]{64}"
_CLIENT: Final = r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,31}"
LONGEST_CLIENT: Final = 32
_PATTERN: Final = r"[A-Za-z0-9_*?\[][A-Za-z0-9_.:/*?\[\]!-]*"
_UPSTREAM_EXAMPLES: Final = "'http://127.0.0.1:11434', 'gpu-box' or 'gpu-box:11434'"


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of value; annotates a field of the settings.

    Attributes:
        expected: what must stand there, in plain English, as it follows the word 'expected'.
        parse: from what YAML gives (text, number, true, false, None) to the value; raises ValueError or TypeError.
        write: from the value back to what YAML gives.
        json_schema: the same check for an editor.
        choices: the words to compare a misspelt one with.
        is_secret: what stands there by mistake may be a secret, and is not shown.
    """

    expected: str
    parse: Callable[[Any], Any]
    json_schema: dict[str, Any]
    write: Callable[[Any], Any] = lambda value: value
    choices: tuple[str, ...] = ()
    is_secret: bool = False

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:  # noqa: ANN401 - pydantic's own signature
        """Let pydantic read and write the value with these functions."""
        return core_schema.no_info_plain_validator_function(
            self._validate, serialization=core_schema.plain_serializer_function_ser_schema(self.write)
        )

    def __get_pydantic_json_schema__(
        self, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the value to editors."""
        return dict(self.json_schema)

    def _validate(self, value: object) -> object:
        try:
            return self.parse(value)
        except (ValueError, TypeError) as error:
            context = {"expected": self.expected, "choices": self.choices, "is_secret": self.is_secret}
            raise PydanticCustomError("expected", "expected {expected}", context) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text is needed, got {value!r}")
    return value


def _string(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^({pattern})$"}


def _choice(*words: str) -> Kind:
    def parse(value: object) -> str:
        return words[words.index(_text(value))]

    return Kind(f"one of {', '.join(words)}", parse, {"enum": list(words)}, str, words)


def _duration(*, least: str = "0s") -> Kind:
    def parse(value: object) -> float:
        is_zero = value == 0 and not isinstance(value, bool)
        seconds = 0.0 if is_zero else parse_duration(_text(value), days=True)
        if seconds < parse_duration(least):
            raise ValueError(f"duration must be at least {least}, got {value!r}")
        return seconds

    text = _string(_DURATION)
    takes_zero = least == "0s"
    bound = "" if takes_zero else f" of at least {least}"
    schema = {"anyOf": [text, {"const": 0}]} if takes_zero else text
    return Kind(f"a duration such as '90s', '5m', '1h30m'{bound}", parse, schema, exact_duration)


def _size(*, least: int = 0) -> Kind:
    def parse(value: object) -> int:
        count = parse_bytes(_text(value))
        if count < least:
            raise ValueError(f"size must be at least {least} bytes, got {value!r}")
        return count

    bound = " above 0B" if least else ""
    return Kind(f"a size{bound} such as '22GiB', '512MiB', '24GB'", parse, _string(_SIZE), exact_bytes)


def _or_word(kind: Kind, word: str = AUTO) -> Kind:
    """The same kind, or the word, which reads as None."""
    return Kind(
        f"{word} or {kind.expected}",
        lambda value: None if value == word else kind.parse(value),
        {"anyOf": [{"const": word}, kind.json_schema]},
        lambda value: word if value is None else kind.write(value),
        () if kind.is_secret else (word,),
        kind.is_secret,
    )


def _list(kind: Kind, example: str, build: Callable[[list[Any]], Any]) -> Kind:
    """A list of that kind, read by `build` from a list."""

    def parse(value: object) -> object:
        if not isinstance(value, list):
            raise TypeError(f"a list is needed, got {value!r}")
        return build([kind.parse(item) for item in value])

    schema = {"type": "array", "items": kind.json_schema}
    return Kind(f"a list such as {example}", parse, schema, lambda value: [kind.write(item) for item in sorted(value)])


def _whole_number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"number must be whole and >= 1, got {value!r}")
    return value


def _positive_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"number must be finite and > 0, got {value!r}")
    return float(value)


def _true_or_false(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"true or false is needed, got {value!r}")
    return value


def _store_path(value: object) -> Path:
    return platformdirs.user_state_path("keepwarm") / "usage.sqlite" if value == AUTO else _path(value)


def _path(value: object) -> Path:
    if not _text(value) or "\0" in _text(value):
        raise ValueError(f"path must be a file's, got {value!r}")
    try:
        return Path(_text(value)).expanduser()
    except RuntimeError as error:  # '~somebody' has no home folder
        raise ValueError(str(error)) from error


def _matching(pattern: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not re.fullmatch(pattern, _text(value)):
            raise ValueError(f"text must match {pattern}")  # the value may be a secret
        return _text(value)

    return parse


def _tracing_endpoint(value: object) -> str:
    if "://" not in _text(value):
        raise ValueError(f"URL must begin with http:// or https://, got {value!r}")
    return upstream_url(_text(value))


def _pattern(value: object) -> str:
    if not re.fullmatch(_PATTERN, _text(value)):
        raise ValueError(f"pattern must be a model name, with * for anything, got {value!r}")
    return _text(value)


_WHOLE_NUMBER: Final = Kind("a whole number of 1 or more", _whole_number, {"type": "integer", "minimum": 1})

Duration = Annotated[float, _duration()]
PositiveDuration = Annotated[float, _duration(least="1ms")]
PollingInterval = Annotated[float, _duration(least="100ms")]
Size = Annotated[int, _size()]
PositiveSize = Annotated[int, _size(least=1)]
Budget = Annotated[int | None, _or_word(_size(least=1))]
Count = Annotated[int, _WHOLE_NUMBER]
CountOrAuto = Annotated[int | None, _or_word(_WHOLE_NUMBER)]
Weight = Annotated[float, Kind("a number above 0", _positive_number, {"type": "number", "exclusiveMinimum": 0})]
Switch = Annotated[bool, Kind("true or false", _true_or_false, {"type": "boolean"})]
PolicyName = Annotated[str, _choice(*POLICIES)]
Precedence = Annotated[ClientKeepAlive, _choice(*ClientKeepAlive)]
ContextChoice = Annotated[NumCtx, _choice(*NumCtx)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], _choice("debug", "info", "warning", "error")]
LogFormat = Annotated[Literal["text", "json"], _choice("text", "json")]
ListenAddress = Annotated[
    Address,
    Kind(
        "an address to listen on such as '127.0.0.1:11435', ':11435', '[::1]:11435'",
        lambda value: Address.parse(_text(value)),
        _string(r".*:[0-9]{1,5}"),
        str,
    ),
]
UpstreamUrl = Annotated[
    str,
    Kind(
        f"{AUTO} or Ollama's address such as {_UPSTREAM_EXAMPLES}",
        lambda value: DEFAULT_UPSTREAM if value == AUTO else upstream_url(_text(value)),
        {"type": "string", "minLength": 1},
    ),
]
_DIGEST: Final = Kind(
    "the SHA-256 of a key, 64 hexadecimal digits as `keepwarm key new` prints them",
    lambda value: _matching(_SHA256)(value).lower(),
    _string(_SHA256),
    is_secret=True,
)
_MODEL_PATTERN: Final = Kind(
    "a model name, with * for anything, such as 'llama3.2' or 'qwen*:14b'", _pattern, _string(_PATTERN)
)
_ENDPOINT: Final = Kind(
    "the URL of an OTLP receiver such as 'http://127.0.0.1:4318'", _tracing_endpoint, _string("https?://.+")
)
Digest = Annotated[str, _DIGEST]
DigestOrNone = Annotated[str | None, _or_word(_DIGEST, NONE)]
ClientName = Annotated[
    str,
    Kind(
        f"a name of at most {LONGEST_CLIENT} letters, digits and '_', '.', '-', '@'",
        _matching(_CLIENT),
        _string(_CLIENT),
        is_secret=True,
    ),
]
Groups = Annotated[frozenset[Group], _list(_choice(*Group), "[use, unload], of use, manage, unload", frozenset)]
ModelPatterns = Annotated[tuple[str, ...], _list(_MODEL_PATTERN, "['llama3*', 'qwen3:8b']", tuple)]
FileOrNone = Annotated[
    Path | None, _or_word(Kind("the path of a file", _path, {"type": "string", "minLength": 1}, str), NONE)
]
TracingEndpoint = Annotated[str | None, _or_word(_ENDPOINT, NONE)]
StorePath = Annotated[Path, Kind(f"{AUTO} or the path of a file", _store_path, {"type": "string", "minLength": 1}, str)]
ModelPattern = Annotated[str, _MODEL_PATTERN]
