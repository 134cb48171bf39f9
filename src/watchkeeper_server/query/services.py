"""Services and their operations: rate, errors, duration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watchkeeper_server.model.answers import Operation, Operations, Service, Services, Trend
from watchkeeper_server.model.severity import LOWEST, words_from
from watchkeeper_server.model.spans import kind_of
from watchkeeper_server.model.times import NANOSECONDS, TimeRange, format_time
from watchkeeper_server.query.parameters import within
from watchkeeper_server.query.reader import Read

TREND_POINTS = 30
MAX_OPERATIONS = 1_000

_NO_SPANS: Mapping[str, Any] = {
    "spans": 0, "requests": 0, "errors": 0, "last_ns": 0, "quantiles_ns": (),
    "pieces": (), "requests_of": (), "errors_of": (), "p95_ns_of": (),
}  # fmt: skip
_NO_LOGS: Mapping[str, Any] = {"records": 0, "errors": 0, "last_ns": 0}


class ServiceQueries:
    """Reads services out of their spans and log records."""

    def __init__(self, read: Read) -> None:
        """`read` runs the store's named statements."""
        self._read = read

    def all(self, range_: TimeRange) -> Services:
        """Every service that sent a span or a log record in the range, the busiest first."""
        step_ns = range_.step_ns(TREND_POINTS)
        parameters = within(range_)
        spans = {row["name"]: row for row in self._rows("read_services", parameters | {"step_ns": step_ns})}
        errors = {"severity": LOWEST["error"], "severity_words": words_from("error")}
        logs = {row["name"]: row for row in self._rows("read_service_logs", parameters | errors)}
        services = [
            _service(name, spans.get(name, _NO_SPANS), logs.get(name, _NO_LOGS), range_, step_ns)
            for name in spans.keys() | logs.keys()
        ]
        services.sort(key=lambda one: (-one["requests"], -one["spans"], -one["log_records"], one["name"]))
        return Services(start=format_time(range_.start_ns), end=format_time(range_.end_ns), services=services)

    def operations(self, service: str, range_: TimeRange) -> Operations:
        """What a service was asked to do, the operation that took the most time in all first; at most 1,000."""
        parameters = within(range_) | {"service": service, "limit": MAX_OPERATIONS}
        operations = [_operation(row, range_) for row in self._rows("read_operations", parameters)]
        return Operations(service=service, operations=operations)

    def _rows(self, name: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._read(name, parameters).to_pylist()
        return rows


def _service(name: str, spans: Mapping[str, Any], logs: Mapping[str, Any], range_: TimeRange, step_ns: int) -> Service:
    requests = spans["requests"]
    p50_ns, p95_ns, p99_ns = map(round, spans["quantiles_ns"]) if requests else (None, None, None)
    last_ns = max(spans["last_ns"], logs["last_ns"])
    return Service(
        name=name,
        requests=requests,
        errors=spans["errors"],
        rate_per_second=requests / range_.seconds,
        error_ratio=spans["errors"] / requests if requests else 0.0,
        p50_ns=p50_ns,
        p95_ns=p95_ns,
        p99_ns=p99_ns,
        spans=spans["spans"],
        log_records=logs["records"],
        log_errors=logs["errors"],
        last_seen=format_time(last_ns) if last_ns else None,
        trend=_trend(spans, range_, step_ns),
    )


def _operation(row: Mapping[str, Any], range_: TimeRange) -> Operation:
    p50_ns, p95_ns, p99_ns = map(round, row["quantiles_ns"])
    return Operation(
        name=row["operation"],
        kind=kind_of(row["kind"]),
        requests=row["requests"],
        errors=row["errors"],
        rate_per_second=row["requests"] / range_.seconds,
        error_ratio=row["errors"] / row["requests"],
        p50_ns=p50_ns,
        p95_ns=p95_ns,
        p99_ns=p99_ns,
    )


def _trend(spans: Mapping[str, Any], range_: TimeRange, step_ns: int) -> Trend:
    points = -(-(range_.end_ns - range_.start_ns) // step_ns)
    requests, errors = [0] * points, [0] * points
    p95_ns: list[int | None] = [None] * points
    for i, count, failed, p95 in zip(
        spans["pieces"], spans["requests_of"], spans["errors_of"], spans["p95_ns_of"], strict=True
    ):
        requests[i], errors[i] = count, failed
        p95_ns[i] = round(p95) if count else None
    return Trend(
        start=format_time(range_.start_ns),
        step_seconds=step_ns / NANOSECONDS,
        requests=requests,
        errors=errors,
        p95_ns=p95_ns,
    )
