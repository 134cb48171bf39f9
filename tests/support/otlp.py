"""Makes OTLP: requests from plain Python values, and segments of them as the journal leaves them for the store."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from watchkeeper_server.journal.segment import write_segment
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.store.store import Store

_segment_numbers = itertools.count(1)


def any_value(value: Any) -> AnyValue:
    """A Python value as OTLP's; an AnyValue stays as it is, None is the value that is absent."""
    match value:
        case AnyValue():
            return value
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case str():
            return AnyValue(string_value=value)
        case Mapping():
            made = AnyValue()
            made.kvlist_value.SetInParent()
            made.kvlist_value.values.extend(key_values(value))
            return made
        case _:
            made = AnyValue()
            made.array_value.SetInParent()
            made.array_value.values.extend(any_value(item) for item in value)
            return made


def key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """A mapping as OTLP's attributes."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def span(
    *,
    trace: str,
    id: str,  # noqa: A002  the field's name
    start: int,
    duration: int = 1_000_000,
    parent: str = "",
    name: str = "work",
    kind: int = 1,
    status: int = 0,
    attributes: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Span:
    """A span; ids are hex, times nanoseconds."""
    made = Span(
        trace_id=bytes.fromhex(trace),
        span_id=bytes.fromhex(id),
        parent_span_id=bytes.fromhex(parent),
        name=name,
        kind=kind,  # type: ignore[arg-type]  an enum's number
        start_time_unix_nano=start,
        end_time_unix_nano=start + duration,
        attributes=key_values(attributes or {}),
        **fields,
    )
    made.status.code = status  # type: ignore[assignment]  an enum's number
    return made


def log_record(
    *, time: int, body: Any = "", severity: int = 9, attributes: Mapping[str, Any] | None = None, **fields: Any
) -> LogRecord:
    """A log record; `time` is nanoseconds."""
    return LogRecord(
        time_unix_nano=time,
        severity_number=severity,  # type: ignore[arg-type]  an enum's number
        body=any_value(body),
        attributes=key_values(attributes or {}),
        **fields,
    )


def spans_request(
    spans: Iterable[Span],
    service: str = "shop",
    resource: Mapping[str, Any] | None = None,
    scope: Mapping[str, Any] | None = None,
) -> bytes:
    """An export request of one resource and one scope."""
    request = ExportTraceServiceRequest()
    made = request.resource_spans.add()
    made.resource.attributes.extend(key_values({"service.name": service} | dict(resource or {})))
    scoped = made.scope_spans.add()
    scoped.scope.name = "tests"
    scoped.scope.attributes.extend(key_values(scope or {}))
    scoped.spans.extend(spans)
    return request.SerializeToString()


def logs_request(
    records: Iterable[LogRecord], service: str = "shop", resource: Mapping[str, Any] | None = None
) -> bytes:
    """An export request of one resource and one scope."""
    request = ExportLogsServiceRequest()
    made = request.resource_logs.add()
    made.resource.attributes.extend(key_values({"service.name": service} | dict(resource or {})))
    scoped = made.scope_logs.add()
    scoped.scope.name = "tests"
    scoped.log_records.extend(records)
    return request.SerializeToString()


def load(store: Store, kind: Kind, folder: Path, *payloads: bytes) -> int:
    """Store the payloads as one segment, as the journal would; answers the segment's number."""
    number = next(_segment_numbers)
    path = folder / f"{kind}-{number}.segment"
    write_segment(path, payloads)
    store.load(kind, path, (number,), replayed=False)
    return number
