"""Log records in OTLP: field numbers of opentelemetry-proto `logs.proto`."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.semconv.attributes.exception_attributes import (
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
)

from watchkeeper.context import CORRELATION_ID
from watchkeeper.export.otlp.resource import request, scope_field
from watchkeeper.export.otlp.wire import any_value, fixed32, fixed64, key_value, key_values, text, varint
from watchkeeper.logging.levels import severity_of
from watchkeeper.logging.record import Record

REQUEST_ID = "request_id"  # the name that the line has too
EVENT = ("error.category", "error.fingerprint", "error.id")  # of an error event
_ATTRIBUTE = 0x32


class LogEncoder:
    """Encodes batches for one resource."""

    def __init__(self, resource: bytes) -> None:
        self._resource = resource
        self._severities: dict[int, bytes] = {}

    def encode(self, records: Sequence[Record]) -> bytes:
        """An ExportLogsServiceRequest; a logger's name is its scope."""
        by_logger: dict[str, list[bytes]] = {}
        for record in records:
            encoded = by_logger.get(record.logger)
            if encoded is None:
                encoded = by_logger[record.logger] = []
            encoded.append(self.record(record))
        return request(self._resource, [scope_field(name) + b"".join(found) for name, found in by_logger.items()])

    def record(self, record: Record) -> bytes:
        """A LogRecord as a field of ScopeLogs."""
        time_ns, level, _logger, message, fields, trace_id, span_id, flags, request_id, correlation_id, failure = record
        stamp = fixed64(time_ns)
        body = any_value(message)
        parts = [
            b"\x09",
            stamp,
            b"\x59",
            stamp,
            self._severities.get(level) or self._severity(level),
            b"\x2a",
            varint(len(body)),
            body,
        ]
        if fields:
            parts.append(key_values(_ATTRIBUTE, fields))
        if request_id and REQUEST_ID not in fields:
            parts.append(key_value(_ATTRIBUTE, REQUEST_ID, request_id))
        if correlation_id and CORRELATION_ID not in fields:
            parts.append(key_value(_ATTRIBUTE, CORRELATION_ID, correlation_id))
        if failure is not None:
            parts.append(key_value(_ATTRIBUTE, EXCEPTION_TYPE, failure.type))
            parts.append(key_value(_ATTRIBUTE, EXCEPTION_MESSAGE, failure.message))
            parts.append(key_value(_ATTRIBUTE, EXCEPTION_STACKTRACE, failure.stack))
            if failure.event_id:
                known = zip(EVENT, (failure.category, failure.fingerprint, failure.event_id), strict=True)
                parts += [key_value(_ATTRIBUTE, name, value) for name, value in known]
        if trace_id:
            ids = (b"\x45", fixed32(flags & 0xFF), b"\x4a\x10", trace_id.to_bytes(16), b"\x52\x08", span_id.to_bytes(8))
            parts.extend(ids)
        payload = b"".join(parts)
        return b"\x12%b%b" % (varint(len(payload)), payload)

    def _severity(self, level: int) -> bytes:
        number, name = severity_of(level)
        encoded = b"\x10" + varint(number) + text(0x1A, name)
        if len(self._severities) < 256:  # noqa: PLR2004  # an application may invent any number of levels
            self._severities[level] = encoded
        return encoded
