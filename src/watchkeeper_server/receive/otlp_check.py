"""Decode an OTLP request far enough to answer for it: well-formed, and each item storable.

The happy path never loops over items in Python: fields are gathered and judged by C (`map`, `zip`, `set`, `min`).
Only a request that fails this is walked item by item, so that its bad items are named and left out, the rest kept.

Source: https://opentelemetry.io/docs/specs/otlp/ (partial success), opentelemetry-proto's field comments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, methodcaller
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.receive.otlp_items import require_few_items
from watchkeeper_server.receive.refusal import Reason, RefusedError

_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
_NO_TRACE, _NO_SPAN = bytes(_TRACE_ID_BYTES), bytes(_SPAN_ID_BYTES)
_NAMED_REJECTIONS = 5
# The attributes of a smaller request are not counted: it cannot hold enough to do harm, and counting costs a tenth.
_HARMLESS_BYTES = 1024 * 1024
# A scope is stored beside each of its items: a large one with many would grow a request to this many times its size.
_GROWTH = 32
# A data point's attribute, which becomes a label, as with remote write. Not looked for in harmless requests.
_LABEL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is storable: times in Unix nanoseconds, and a number of attributes for each item."""

    oldest_ns: int
    newest_ns: int
    attributes: int


@dataclass(frozen=True, slots=True)
class Checked:
    """A request fit for the journal: what to store of it, and what to answer."""

    kind: Kind
    payload: bytes
    accepted: int
    rejected: int = 0
    message: str = ""


_MESSAGES: Mapping[Kind, type[Message]] = {
    Kind.SPANS: ExportTraceServiceRequest,
    Kind.LOGS: ExportLogsServiceRequest,
    Kind.METRICS: ExportMetricsServiceRequest,
    Kind.METRICS_DELTA: ExportMetricsServiceRequest,
}
Fault = str | None
M = TypeVar("M", bound=Message)


def check_spans(body: bytes, bounds: Bounds) -> Checked:
    """See `_check`."""
    request = _decode(ExportTraceServiceRequest, body, Kind.SPANS)
    scoped = [scope for resource in request.resource_spans for scope in resource.scope_spans if scope.spans]
    groups = [scope.spans for scope in scoped]
    common = _large_scopes(scoped, groups, body)
    sound = not common and all(_spans_sound(spans, bounds) for spans in groups)
    sound = sound and _attributes_bounded(body, groups, bounds)
    return _check(Kind.SPANS, body, request, groups, sound, common, lambda span: _span_fault(span, bounds))


def check_logs(body: bytes, bounds: Bounds) -> Checked:
    """See `_check`."""
    request = _decode(ExportLogsServiceRequest, body, Kind.LOGS)
    scoped = [scope for resource in request.resource_logs for scope in resource.scope_logs if scope.log_records]
    groups = [scope.log_records for scope in scoped]
    common = _large_scopes(scoped, groups, body)
    sound = not common and all(_logs_sound(records, bounds) for records in groups)
    sound = sound and _attributes_bounded(body, groups, bounds)
    return _check(Kind.LOGS, body, request, groups, sound, common, lambda record: _log_fault(record, bounds))


def check_metrics(body: bytes, bounds: Bounds) -> Checked:
    """See `_check`. A request with any delta metric is of another kind, since it is stored by another statement."""
    request = _decode(ExportMetricsServiceRequest, body, Kind.METRICS)
    placed = [
        (resource.resource.ByteSize(), metric)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    metrics = [metric for _, metric in placed]
    data = [getattr(metric, metric.WhichOneof("data") or "gauge") for metric in metrics]
    named = [
        (size, metric, datum.data_points)
        for (size, metric), datum in zip(placed, data, strict=True)
        if datum.data_points
    ]
    groups = [points for _, _, points in named]
    common = {i: fault for i, one in enumerate(named) if (fault := _metric_fault(*one, body))}
    delta = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    kind = Kind.METRICS_DELTA if any(getattr(d, "aggregation_temporality", 0) == delta for d in data) else Kind.METRICS
    sound = not common and all(_points_sound(points, bounds) for points in groups)
    sound = sound and _attributes_bounded(body, groups, bounds)
    sound = sound and _attributes_short(body, groups)
    return _check(kind, body, request, groups, sound, common, lambda point: _point_fault(point, bounds))


def without_unknown(kind: Kind, payload: bytes) -> bytes:
    """A payload written anew, without the fields that its message does not declare; itself if it is not decodable.

    To this decoder a known field of another wire type is an unknown one; to others it is an error.
    """
    if kind not in _MESSAGES:  # one of our own making
        return payload
    try:
        request = _MESSAGES[kind].FromString(payload)
    except DecodeError:  # not one that was checked
        return payload
    request.DiscardUnknownFields()
    return bytes(request.SerializeToString())


def _decode(message: type[M], body: bytes, kind: Kind) -> M:
    if len(body) > _HARMLESS_BYTES:
        require_few_items(body, kind)
    try:
        decoded: M = message.FromString(body)
    except DecodeError as error:
        raise RefusedError(
            Reason.MALFORMED,
            f"the body is not a {message.DESCRIPTOR.name} in protobuf ({error}); "
            "check that it is complete, uncompressed as its Content-Encoding says, and that its strings are UTF-8",
        ) from error
    return decoded


def _check(
    kind: Kind,
    body: bytes,
    request: Message,
    groups: list[Any],
    sound: bool,
    common: Mapping[int, str],
    fault_of: Callable[[Any], Fault],
) -> Checked:
    """The verdict over a decoded request.

    Args:
        kind: what the payload will be stored as.
        body: the request's bytes, journalled as they are when all is well.
        request: the same, decoded; bad items are removed from it otherwise.
        groups: the repeated fields that hold the items.
        sound: whether the quick look found nothing wrong.
        common: what is wrong with every item of a group, by the group's place.
        fault_of: what is wrong with an item, or None.

    Raises:
        RefusedError: not one item can be kept.
    """
    total = sum(map(len, groups))
    if sound:
        return Checked(kind, body, total)
    faults: list[str] = []
    for place, items in enumerate(groups):
        kept = []
        for i, item in enumerate(items):
            fault = common.get(place) or fault_of(item)
            if fault is None:
                kept.append(item)
            else:
                faults.append(f"item {i}: {fault}")
        if len(kept) < len(items):
            survivors = [type(item).FromString(item.SerializeToString()) for item in kept]
            del items[:]
            items.extend(survivors)
    if not faults:
        return Checked(kind, body, total)
    message = f"{len(faults)} of {total} rejected: {'; '.join(faults[:_NAMED_REJECTIONS])}"
    if len(faults) > _NAMED_REJECTIONS:
        message += f"; and {len(faults) - _NAMED_REJECTIONS} more"
    if len(faults) == total:
        raise RefusedError(Reason.MALFORMED, message, items=total)
    return Checked(kind, request.SerializeToString(), total - len(faults), len(faults), message)


_SPAN_FIELDS = attrgetter("trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano")
_LOG_FIELDS = attrgetter("trace_id", "span_id", "time_unix_nano", "observed_time_unix_nano")
_POINT_TIME = attrgetter("time_unix_nano")
_ATTRIBUTES = attrgetter("attributes")
_BOUNDS, _QUANTILES = attrgetter("explicit_bounds"), attrgetter("quantile_values")
_SIZE = methodcaller("ByteSize")


def _spans_sound(spans: Iterable[Any], bounds: Bounds) -> bool:
    trace_ids, span_ids, parents, starts, ends = zip(*map(_SPAN_FIELDS, spans), strict=True)
    return (
        set(map(len, trace_ids)) == {_TRACE_ID_BYTES}
        and set(map(len, span_ids)) == {_SPAN_ID_BYTES}
        and {0, _SPAN_ID_BYTES}.issuperset(map(len, parents))
        and _NO_TRACE not in trace_ids
        and _NO_SPAN not in span_ids
        and min(starts) >= bounds.oldest_ns
        and max(starts) <= bounds.newest_ns
        and min(ends) > 0
        and max(ends) <= bounds.newest_ns
    )


def _logs_sound(records: Iterable[Any], bounds: Bounds) -> bool:
    trace_ids, span_ids, times, observed = zip(*map(_LOG_FIELDS, records), strict=True)
    return (
        {0, _TRACE_ID_BYTES}.issuperset(map(len, trace_ids))
        and {0, _SPAN_ID_BYTES}.issuperset(map(len, span_ids))
        and min(filter(None, times), default=bounds.newest_ns) >= bounds.oldest_ns
        and (0 not in times or min(observed) >= bounds.oldest_ns)
        and max(times) <= bounds.newest_ns
        and max(observed) <= bounds.newest_ns
    )


def _points_sound(points: Iterable[Any], bounds: Bounds) -> bool:
    times: list[int] = list(map(_POINT_TIME, points))
    return min(times) >= bounds.oldest_ns and max(times) <= bounds.newest_ns


def _large_scopes(scoped: list[Any], groups: list[Any], body: bytes) -> dict[int, str]:
    """The scopes too large to be stored beside each of their items, by place."""
    return {
        i: f"its scope, {scope.scope.ByteSize():,} bytes, is too large to be kept with each of {len(items):,} items"
        for i, (scope, items) in enumerate(zip(scoped, groups, strict=True))
        if len(items) > _GROWTH and scope.scope.ByteSize() * len(items) > _GROWTH * len(body)
    }


def _metric_fault(resource_bytes: int, metric: Any, points: Sequence[Any], body: bytes) -> Fault:
    """Whether it has no name, or labels too large to be stored with each of its series.

    A resource and the metric's name become labels of every point, a point's attributes those of every bucket.
    """
    if not metric.name:
        return "its metric has no name"
    size, series = resource_bytes + len(metric.name), len(points)
    if metric.HasField("histogram"):
        size += max(map(_SIZE, points))
        series += sum(map(len, map(_BOUNDS, points)))
    elif metric.HasField("summary"):
        size += max(map(_SIZE, points))
        series += sum(map(len, map(_QUANTILES, points)))
    if size * series <= _GROWTH * max(len(body), _HARMLESS_BYTES):
        return None
    return f"its metric's labels, up to {size:,} bytes, are too large to be kept with each of {series:,} series"


def _attributes_short(body: bytes, groups: list[Any]) -> bool:
    return len(body) < _HARMLESS_BYTES or all(max(map(_SIZE, points)) <= _LABEL_BYTES for points in groups)


def _attributes_bounded(body: bytes, groups: list[Any], bounds: Bounds) -> bool:
    if len(body) < _HARMLESS_BYTES:
        return True
    most: int = max((max(map(len, map(_ATTRIBUTES, items))) for items in groups), default=0)
    return most <= bounds.attributes


def _span_fault(span: Any, bounds: Bounds) -> Fault:
    return _first(
        _id_fault("trace_id", span.trace_id, _TRACE_ID_BYTES),
        _id_fault("span_id", span.span_id, _SPAN_ID_BYTES),
        _id_fault("parent_span_id", span.parent_span_id, _SPAN_ID_BYTES, optional=True),
        _time_fault("start_time_unix_nano", span.start_time_unix_nano, bounds),
        "end_time_unix_nano is 0" if span.end_time_unix_nano == 0 else None,
        _time_fault("end_time_unix_nano", span.end_time_unix_nano, Bounds(0, bounds.newest_ns, 0)),
        _attributes_fault(span, bounds),
    )


def _log_fault(record: Any, bounds: Bounds) -> Fault:
    time = "time_unix_nano" if record.time_unix_nano else "observed_time_unix_nano"
    return _first(
        _id_fault("trace_id", record.trace_id, _TRACE_ID_BYTES, optional=True),
        _id_fault("span_id", record.span_id, _SPAN_ID_BYTES, optional=True),
        _time_fault(time, getattr(record, time), bounds),
        _time_fault("observed_time_unix_nano", record.observed_time_unix_nano, Bounds(0, bounds.newest_ns, 0)),
        _attributes_fault(record, bounds),
    )


def _point_fault(point: Any, bounds: Bounds) -> Fault:
    return _first(
        _time_fault("time_unix_nano", point.time_unix_nano, bounds),
        _attributes_fault(point, bounds),
        _label_fault(point),
    )


def _label_fault(point: Any) -> Fault:
    for attribute in point.attributes:
        if (size := attribute.ByteSize()) > _LABEL_BYTES:
            return f"attribute {attribute.key[:100]!r} is {size:,} bytes long, the most allowed is {_LABEL_BYTES:,}"
    return None


def _first(*faults: Fault) -> Fault:
    return next(filter(None, faults), None)


def _id_fault(field: str, value: bytes, size: int, *, optional: bool = False) -> Fault:
    if not value and optional:
        return None
    if len(value) != size:
        return f"{field} has {len(value)} bytes instead of {size}"
    return f"{field} is all zero" if not any(value) and not optional else None


def _time_fault(field: str, value: int, bounds: Bounds) -> Fault:
    if value > bounds.newest_ns:
        return f"{field} {value} is in the future: check the sender's clock"
    if value < bounds.oldest_ns:
        return f"{field} is 0" if value == 0 else f"{field} {value} is older than what is retained (see --retention)"
    return None


def _attributes_fault(item: Any, bounds: Bounds) -> Fault:
    count = len(item.attributes)
    return f"{count:,} attributes, the most allowed is {bounds.attributes:,}" if count > bounds.attributes else None
