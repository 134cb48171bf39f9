"""What the read path answers: the shapes the JSON API returns and the page draws.

Conventions, the same everywhere:

- a `time` is RFC 3339 in UTC with nanoseconds, `2026-11-21T05:00:00.123456789Z`: exact, and readable;
- a duration or an offset is an integer of nanoseconds and its name ends in `_ns`;
- an attribute keeps its type: a JSON string, number, boolean, array or object; bytes are `{"$bytes": "<base64>"}`;
- ids are lower-case hex, and `None` where absent;
- `next` is an opaque cursor for the following page, `None` on the last one.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict  # pydantic reads typing's own from Python 3.12 on

Attributes = dict[str, Any]


class Trend(TypedDict):
    """Evenly spaced figures for a small chart: point i covers `start + i * step_seconds` onwards."""

    start: str
    step_seconds: float
    requests: list[int]
    errors: list[int]
    p95_ns: list[int | None]


class Service(TypedDict):
    """A service's requests (its server, consumer and root spans) over the asked range."""

    name: str
    requests: int
    errors: int
    rate_per_second: float
    error_ratio: float
    p50_ns: int | None
    p95_ns: int | None
    p99_ns: int | None
    spans: int
    log_records: int
    log_errors: int
    last_seen: str | None
    trend: Trend


class Services(TypedDict):
    """Every service seen in the range, the busiest first."""

    start: str
    end: str
    services: list[Service]


class Operation(TypedDict):
    """One span name of a service."""

    name: str
    kind: str
    requests: int
    errors: int
    rate_per_second: float
    error_ratio: float
    p50_ns: int
    p95_ns: int
    p99_ns: int


class Operations(TypedDict):
    """A service's operations, the one that took the most time in all first."""

    service: str
    operations: list[Operation]


class ServiceShare(TypedDict):
    """How many of a trace's spans a service made."""

    name: str
    spans: int
    errors: int


class TraceSummary(TypedDict):
    """A trace as a row: its root (or, until that arrives, its earliest span) and its size."""

    trace_id: str
    start: str
    duration_ns: int
    service: str
    operation: str
    root_missing: bool
    spans: int
    errors: int
    services: list[ServiceShare]


class Traces(TypedDict):
    """Matching traces, newest first."""

    traces: list[TraceSummary]
    next: str | None


class Scope(TypedDict):
    """The instrumentation scope that made a span or a log record."""

    name: str
    version: str
    attributes: Attributes
    schema_url: str
    dropped_attributes_count: int


class Resource(TypedDict):
    """The entity that made telemetry: a process, usually."""

    attributes: Attributes
    schema_url: str
    dropped_attributes_count: int


class SpanEvent(TypedDict):
    """Something that happened within a span."""

    time: str
    offset_ns: int
    name: str
    attributes: Attributes
    dropped_attributes_count: int


class SpanLink(TypedDict):
    """A reference from a span to another one, of any trace."""

    trace_id: str
    span_id: str
    trace_state: str
    flags: int
    attributes: Attributes
    dropped_attributes_count: int


class Status(TypedDict):
    """A span's outcome: `unset`, `ok` or `error`."""

    code: str
    message: str


class Span(TypedDict):
    """One span, whole. `offset_ns` counts from the trace's start; `resource` is a key of the trace's `resources`."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: str
    service: str
    start: str
    end: str
    offset_ns: int
    duration_ns: int
    status: Status
    attributes: Attributes
    events: list[SpanEvent]
    links: list[SpanLink]
    scope: Scope
    resource: str
    trace_state: str
    flags: int
    dropped_attributes_count: int
    dropped_events_count: int
    dropped_links_count: int


class LogRecord(TypedDict):
    """One log record, whole. `severity` is the OTLP range's name in lower case, `unset` where none was sent."""

    time: str
    observed_time: str | None
    severity: str
    severity_number: int
    severity_text: str
    service: str
    body: Any
    event_name: str
    trace_id: str | None
    span_id: str | None
    flags: int
    attributes: Attributes
    dropped_attributes_count: int
    scope: Scope
    resource: Resource


class Trace(TypedDict):
    """A trace's spans by start time, parents before children, with the log records that name it, oldest first.

    `truncated` says that the trace has more spans than a trace's answer holds (10,000, the earliest); duration and
    services are of all of them. `logs_truncated` says the same of its log records (1,000, the newest).
    """

    trace_id: str
    start: str
    duration_ns: int
    services: list[ServiceShare]
    spans: list[Span]
    resources: dict[str, Resource]
    logs: list[LogRecord]
    truncated: bool
    logs_truncated: bool


class Logs(TypedDict):
    """Matching log records, newest first."""

    logs: list[LogRecord]
    next: str | None


class LogCounts(TypedDict):
    """Matching log records over time: `counts[severity][i]` covers `start + i * step_seconds` onwards."""

    start: str
    end: str
    step_seconds: float
    counts: dict[str, list[int]]
    total: int


class Metric(TypedDict):
    """A metric's name with what is known of it; `type` is Prometheus's word for it."""

    name: str
    type: str
    unit: str
    help: str
    series: int


class Metrics(TypedDict):
    """Metrics seen in the range, by name."""

    metrics: list[Metric]


class Labels(TypedDict):
    """A metric's label names with the values each took."""

    metric: str
    labels: dict[str, list[str]]


class Series(TypedDict):
    """Raw samples of one series, oldest first: `[unix seconds, value]`; NaN and infinities are strings."""

    labels: dict[str, str]
    points: list[tuple[float, float | str]]


class SeriesAnswer(TypedDict):
    """Series of one metric; `truncated` says that a limit cut some off."""

    metric: str
    type: str
    unit: str
    series: list[Series]
    truncated: bool


class SignalStatus(TypedDict):
    """How one signal is doing since the server started."""

    received: int
    rejected: int
    loaded_bytes: int
    backlog_bytes: int
    backlog_age_seconds: float


class ServerStatus(TypedDict):
    """The server's own condition."""

    version: str
    started: str
    ready: bool
    signals: dict[str, SignalStatus]
    quarantined: int
    private_bytes: int
    resident_bytes: int


class Problem(TypedDict):
    """Why a request was refused: `error` names the kind, `message` says what to do, `field` the parameter at fault."""

    error: str
    message: str
    field: str | None
