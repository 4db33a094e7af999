"""How log records look: one line each, as text or JSON, on stderr. Never lets a logged text begin a line of its own."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from typing import TextIO

LogFormat = Literal["text", "json"]

FIELDS: Final = "fields"
"""Name of the `extra` that carries what a line tells, field by field, to the JSON format."""

ACCESS: Final = "proxy.access"
"""Name of the logger of the access log, which is silent unless it is asked for."""


def set_up_logging(level: str, log_format: LogFormat, stream: TextIO | None = None, *, access: bool = False) -> None:
    """Send all records of at least this level to one stream, in place of any earlier set-up.

    Args:
        level: debug, info, warning or error.
        log_format: `text` for people and journals, `json` for machines.
        access: whether to write the access log, whatever the level.
        stream: where to; None: stderr.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLine() if log_format == "json" else TextLine())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it reports each change that it sees
    logging.getLogger(ACCESS).setLevel(logging.INFO)
    logging.getLogger(ACCESS).disabled = not access


class TextLine(logging.Formatter):
    r"""`2025-01-31T12:00:00.123Z INFO    proxy.observe: message`; what is unprintable is escaped: `\n`, `\x1b`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the one line, traceback included."""
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {_message(self, record)}"
        return line if line.isprintable() else "".join(map(_printable, line))


class JsonLine(logging.Formatter):
    """One JSON object: time, level, logger, message, and what else the line tells. ASCII only."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the one line, traceback included."""
        line = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        return json.dumps({**line, "message": _message(self, record), **getattr(record, FIELDS, {})})


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    message = record.getMessage()
    return f"{message}\n{formatter.formatException(record.exc_info)}" if record.exc_info else message


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
