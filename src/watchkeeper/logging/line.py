"""How a record looks: one line of JSON for machines, or a readable one for a terminal."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from watchkeeper.logging.record import Record, severity_of
from watchkeeper.options import ServiceOptions
from watchkeeper.values import fields_snapshot

Format = Callable[[Record], bytes]

# Keys of a line that say who speaks; a field of the same name is written with an underscore behind it.
RESERVED = frozenset(
    {
        "timestamp",
        "level",
        "message",
        "logger",
        "service",
        "version",
        "environment",
        "host",
        "pid",
        "trace_id",
        "span_id",
        "request_id",
        "error",
    }
)
_COLOURS = {"trace": 90, "debug": 36, "info": 32, "warning": 33, "error": 31, "critical": 35}
_BILLION = 1_000_000_000


class Timestamps:
    """ISO 8601 in UTC with microseconds; the part above a second is formatted once a second."""

    def __init__(self) -> None:
        self._last = (-1, "")  # one tuple, replaced whole, so that threads never see half of a change

    def format(self, time_ns: int) -> str:
        """Such as 2026-11-21T05:00:00.123456Z."""
        seconds, rest = divmod(time_ns, _BILLION)
        known, text = self._last
        if known != seconds:
            text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._last = (seconds, text)
        return f"{text}.{rest // 1000:06d}Z"


class JsonLines:
    """Records as JSON. Everything that repeats (the service, a logger's name, a level) is encoded once."""

    def __init__(self, service: ServiceOptions) -> None:
        who: dict[str, str | int] = {"service": service.name, "version": service.version}
        who["environment"] = service.environment
        who |= {"host": socket.gethostname(), "pid": os.getpid()}
        self._who = b"," + _json({key: value for key, value in who.items() if value})[1:-1]
        self._times = Timestamps()
        self._levels: dict[int, str] = {}
        self._loggers: dict[str, bytes] = {}

    def __call__(self, record: Record) -> bytes:
        """One line, ended by a newline."""
        time_ns, level, logger, message, fields, trace_id, span_id, _flags, request_id, failure = record
        parts = [
            f'{{"timestamp":"{self._times.format(time_ns)}","level":{self._level(level)},"message":'.encode(),
            _json(message),
            self._loggers.get(logger) or self._logger(logger),
        ]
        if trace_id:
            parts.append(b',"trace_id":"%032x","span_id":"%016x"' % (trace_id, span_id))
        if request_id:
            parts.append(b',"request_id":' + _json(request_id))
        if fields:
            if not RESERVED.isdisjoint(fields):
                fields = {f"{key}_" if key in RESERVED else key: value for key, value in fields.items()}
            parts.append(b"," + _json(fields)[1:-1])
        if failure is not None:
            parts.append(
                b',"error":' + _json({"type": failure.type, "message": failure.message, "stack": failure.stack})
            )
        parts.append(b"}\n")
        return b"".join(parts)

    def _level(self, level: int) -> str:
        name = self._levels.get(level)
        if name is None:
            name = f'"{severity_of(level)[1]}"'
            if len(self._levels) < 256:  # noqa: PLR2004
                self._levels[level] = name
        return name

    def _logger(self, logger: str) -> bytes:
        encoded = b',"logger":' + _json(logger) + self._who
        if len(self._loggers) < 4_096:  # noqa: PLR2004  # names may be made up per request
            self._loggers[logger] = encoded
        return encoded


def _json(value: Any) -> bytes:
    """JSON of a snapshot, whatever orjson cannot say itself: bytes, huge integers, lone surrogates."""
    try:
        return orjson.dumps(value, default=_default)
    except (orjson.JSONEncodeError, TypeError):
        clean = fields_snapshot(value) if isinstance(value, dict) else value
        return json.dumps(clean, default=_default, separators=(",", ":")).encode()


def _default(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


class ConsoleLines:
    """Records for a person at a terminal."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def __call__(self, record: Record) -> bytes:
        """One line, and below it the stack of an error."""
        name = severity_of(record.level)[1]
        clock = datetime.fromtimestamp(record.time_ns / 1e9).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = dict(record.fields)
        if record.trace_id:
            fields["trace"] = f"{record.trace_id:032x}"
        words = " ".join(f"{self._paint(key, 36)}={_short(value)}" for key, value in fields.items())
        shown = self._paint(f"{name:<8}", _COLOURS.get(name, 0))
        line = f"{self._paint(clock, 90)} {shown} {self._paint(record.logger, 90)} {record.message}  {words}".rstrip()
        if record.failure is not None:
            line += f"\n{record.failure.stack.rstrip()}"
        return f"{line}\n".encode("utf-8", "replace")

    def _paint(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours and colour else text


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if " " not in text and text else repr(text) if isinstance(value, str) else text
