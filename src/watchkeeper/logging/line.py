"""How a record looks to a machine: one line of JSON, in our own words, in Logstash's or in Elastic's."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from watchkeeper.logging.levels import severity_of
from watchkeeper.logging.record import Failure, Record
from watchkeeper.options import ServiceOptions
from watchkeeper.values import fields_snapshot, json_text

Format = Callable[[Record], bytes]
_BILLION = 1_000_000_000


class Names(NamedTuple):
    """What a format calls the parts of a line. `own` are keys that a field may not have: it gets an underscore."""

    head: bytes  # up to the timestamp
    level: str
    logger: str
    trace_id: bytes
    span_id: bytes
    request_id: bytes
    correlation_id: bytes
    service: Mapping[str, str]  # by our own names
    constants: Mapping[str, str]
    error: Callable[[Failure], dict[str, Any]]
    fields: Mapping[str, str]  # fields that have a name of their own
    own: frozenset[str]


_WHO = {key: key for key in ("service", "version", "environment", "host", "pid")}
# Keys of a line that say who speaks.
RESERVED = frozenset(
    {"timestamp", "level", "message", "logger", "trace_id", "span_id", "request_id", "correlation_id", "error", *_WHO}
)

JSON = Names(
    head=b'{"timestamp":"',
    level="level",
    logger="logger",
    trace_id=b"trace_id",
    span_id=b"span_id",
    request_id=b"request_id",
    correlation_id=b"correlation_id",
    service=_WHO,
    constants={},
    error=lambda failure: {"error": _told(failure, ("type", "message", "stack", "category", "fingerprint", "id"))},
    fields={},
    own=RESERVED,
)
# https://www.elastic.co/docs/reference/logstash/event-api: what Logstash's json codecs take as the event itself.
LOGSTASH = JSON._replace(
    head=b'{"@timestamp":"', constants={"@version": "1"}, own=RESERVED | {"@timestamp", "@version"}
)
# https://www.elastic.co/docs/reference/ecs: dotted names, as ecs-logging writes them. A field may not be called like
# one of these objects: Elasticsearch would refuse the whole document.
ECS = Names(
    head=b'{"@timestamp":"',
    level="log.level",
    logger="log.logger",
    trace_id=b"trace.id",
    span_id=b"span.id",
    request_id=b"http.request.id",
    correlation_id=b"labels.correlation_id",
    service={
        "service": "service.name",
        "version": "service.version",
        "environment": "service.environment",
        "host": "host.hostname",
        "pid": "process.pid",
    },
    constants={"ecs.version": "8.11.0"},
    error=lambda failure: _told(
        failure,
        ("error.type", "error.message", "error.stack_trace", "error.category", "error.fingerprint", "error.id"),
    ),
    fields={"user_id": "user.id", "tenant_id": "organization.id"},
    own=frozenset({
        "@timestamp", "message", "agent", "client", "cloud", "container", "data_stream", "destination", "device",
        "dns", "ecs", "error", "event", "file", "group", "host", "http", "labels", "log", "network", "observer",
        "organization", "orchestrator", "package", "process", "related", "rule", "server", "service", "source",
        "span", "tags", "threat", "tls", "trace", "transaction", "url", "user", "user_agent", "vulnerability"
    }),
)  # fmt: skip

NAMES = {"json": JSON, "logstash": LOGSTASH, "ecs": ECS}


class Timestamps:
    """ISO 8601 in UTC with microseconds; the part above a second is formatted once a second."""

    def __init__(self) -> None:
        self._last = (-1, b"")  # one tuple, replaced whole, so that threads never see half of a change

    def format(self, time_ns: int) -> bytes:
        """Such as 2026-11-21T05:00:00.123456Z."""
        seconds, rest = divmod(time_ns, _BILLION)
        known, text = self._last
        if known != seconds:
            text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
            self._last = (seconds, text)
        return b"%b.%06dZ" % (text, rest // 1_000)


class JsonLines:
    """Records as JSON. Everything that repeats (the service, a logger's name, a level) is encoded once."""

    def __init__(self, service: ServiceOptions, names: Names = JSON) -> None:
        who: dict[str, str | int] = {"service": service.name, "version": service.version}
        who["environment"] = service.environment
        who |= {"host": socket.gethostname(), "pid": os.getpid()}
        named = {names.service[key]: value for key, value in who.items() if value}
        self._who = b"," + json_of({**named, **names.constants})[1:-1]
        self._names = names
        self._renamed = names.own | set(names.fields)
        self._trace = b',"%b":"%%032x","%b":"%%016x"' % (names.trace_id, names.span_id)
        self._request = b',"%b":' % names.request_id
        self._correlation = b',"%b":' % names.correlation_id
        self._times = Timestamps()
        self._levels: dict[int, bytes] = {}
        self._loggers: dict[str, bytes] = {}

    def __call__(self, record: Record) -> bytes:
        """One line, ended by a newline."""
        try:
            return self._line(record, orjson.dumps)
        except (orjson.JSONEncodeError, TypeError):
            return self._line(record, json_of)

    def _line(self, record: Record, encode: Callable[[Any], bytes]) -> bytes:
        time_ns, level, logger, message, fields, trace_id, span_id, _, request_id, correlation_id, failure = record
        parts = [
            self._names.head,
            self._times.format(time_ns),
            self._levels.get(level) or self._level(level),
            encode(message),
            self._loggers.get(logger) or self._logger(logger),
        ]
        if trace_id:
            parts.append(self._trace % (trace_id, span_id))
        if request_id:
            parts += (self._request, encode(request_id))
        if correlation_id:
            parts += (self._correlation, encode(correlation_id))
        if fields:
            if not self._renamed.isdisjoint(fields):
                fields = {self._name(key): value for key, value in fields.items()}
            parts += (b",", encode(fields)[1:-1])
        if failure is not None:
            parts += (b",", encode(self._names.error(failure))[1:-1])
        parts.append(b"}\n")
        return b"".join(parts)

    def _name(self, key: str) -> str:
        return f"{key}_" if key in self._names.own else self._names.fields.get(key, key)

    def _level(self, level: int) -> bytes:
        name = f'","{self._names.level}":"{severity_of(level).name}","message":'.encode()
        if len(self._levels) < 256:  # noqa: PLR2004  # an application may invent any number of levels
            self._levels[level] = name
        return name

    def _logger(self, logger: str) -> bytes:
        encoded = b"," + json_of({self._names.logger: logger})[1:-1] + self._who
        if len(self._loggers) < 4_096:  # noqa: PLR2004  # names may be made up per request
            self._loggers[logger] = encoded
        return encoded


def json_of(value: Any) -> bytes:
    """JSON of a snapshot, whatever orjson cannot say itself: bytes, huge integers, lone surrogates."""
    try:
        return orjson.dumps(value, default=_default)
    except (orjson.JSONEncodeError, TypeError):
        clean = fields_snapshot(value) if isinstance(value, dict) else value
        return json_text(clean, _default, ascii_only=True).encode()


def _told(failure: Failure, names: Sequence[str]) -> dict[str, str]:
    """An exception's parts; those that only error events have, where there are any."""
    at_least = 3
    return {name: part for at, (name, part) in enumerate(zip(names, failure, strict=True)) if part or at < at_least}


def _default(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
