"""Which request asks which question. A route reads its parameters, asks, and does nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from watchkeeper_server.api.asking import Asking
from watchkeeper_server.api.parameters import (
    LogCountParameters,
    LogParameters,
    LogTailParameters,
    MetricParameters,
    Parameters,
    RangeParameters,
    SeriesParameters,
    TraceParameters,
    naming,
)
from watchkeeper_server.api.problems import NOT_FOUND
from watchkeeper_server.api.tails import Tails
from watchkeeper_server.model.answers import (
    Labels,
    LogCounts,
    Logs,
    Metrics,
    Operations,
    SeriesAnswer,
    ServerStatus,
    Services,
    Trace,
    Traces,
)
from watchkeeper_server.model.cursors import LogCursor, TraceCursor
from watchkeeper_server.query.logs import LogQueries
from watchkeeper_server.query.metrics import MetricQueries
from watchkeeper_server.query.services import ServiceQueries
from watchkeeper_server.query.tail import LogTail
from watchkeeper_server.query.traces import TraceQueries

Clock = Callable[[], int]

_TAIL_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: each `data:` is one record, oldest first. Where more arrives at once than "
        "is sent, an event named `skipped` comes before the newest of it.",
        "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/LogRecord"}}},
    }
}


def add_services(router: APIRouter, services: ServiceQueries, asking: Asking, now_ns: Clock) -> None:
    """Services and their operations."""

    @router.get("/services", response_model=Services)
    async def list_services(parameters: Annotated[RangeParameters, Query()]) -> Response:
        """Every service seen in the range, the busiest first."""
        return await asking.answer(services.all, parameters.range(now_ns()))

    # a name may contain a slash
    @router.get("/services/{service:path}/operations", response_model=Operations)
    async def list_operations(
        service: Annotated[str, Path(max_length=500)], parameters: Annotated[RangeParameters, Query()]
    ) -> Response:
        """What a service was asked to do, the operation that took the most time in all first."""
        return await asking.answer(services.operations, service, parameters.range(now_ns()))


def add_traces(router: APIRouter, traces: TraceQueries, asking: Asking, now_ns: Clock) -> None:
    """Traces."""

    @router.get("/traces", response_model=Traces)
    async def search_traces(parameters: Annotated[TraceParameters, Query()]) -> Response:
        """Traces with a span that all conditions hold for, newest first."""
        with naming("cursor"):
            cursor = TraceCursor.parse(parameters.cursor) if parameters.cursor else None
        range_ = parameters.range(now_ns())
        return await asking.answer(traces.search, parameters.filter(), range_, parameters.limit, cursor)

    @router.get("/traces/{trace_id}", response_model=Trace, responses=NOT_FOUND)
    async def get_trace(
        trace_id: Annotated[str, Path(pattern="^[0-9a-fA-F]{32}$")],
        _: Annotated[Parameters, Query()],
    ) -> Response:
        """One trace: its spans, parents before children, and its log records."""
        return await asking.answer(traces.get, trace_id.lower())


def add_logs(router: APIRouter, logs: LogQueries, asking: Asking, now_ns: Clock, tails: Tails) -> None:
    """Log records."""

    @router.get("/logs", response_model=Logs)
    async def search_logs(parameters: Annotated[LogParameters, Query()]) -> Response:
        """Matching log records, newest first."""
        with naming("cursor"):
            cursor = LogCursor.parse(parameters.cursor) if parameters.cursor else None
        range_ = parameters.range(now_ns())
        return await asking.answer(logs.search, parameters.filter(), range_, parameters.limit, cursor)

    @router.get("/logs/counts", response_model=LogCounts)
    async def count_logs(parameters: Annotated[LogCountParameters, Query()]) -> Response:
        """How many match, over time and by severity."""
        return await asking.answer(logs.counts, parameters.filter(), parameters.range(now_ns()), parameters.buckets)

    @router.get("/logs/tail", response_class=Response, responses=_TAIL_RESPONSES)
    async def follow_logs(parameters: Annotated[LogTailParameters, Query()]) -> Response:
        """Matching log records as they arrive."""
        filter_ = parameters.filter()
        return await tails.follow(lambda: LogTail(logs, filter_), asking.in_thread)


def add_metrics(router: APIRouter, metrics: MetricQueries, asking: Asking, now_ns: Clock) -> None:
    """Metrics, their labels and their series."""

    @router.get("/metrics", response_model=Metrics)
    async def list_metrics(parameters: Annotated[MetricParameters, Query()]) -> Response:
        """Metrics seen in the range, by name."""
        return await asking.answer(metrics.all, parameters.range(now_ns()), parameters.prefix, parameters.service)

    @router.get("/metrics/{name:path}/labels", response_model=Labels)
    async def list_labels(
        name: Annotated[str, Path(max_length=500)], parameters: Annotated[RangeParameters, Query()]
    ) -> Response:
        """A metric's label names with the values each took."""
        return await asking.answer(metrics.labels, name, parameters.range(now_ns()))

    @router.get("/metrics/{name:path}/series", response_model=SeriesAnswer)
    async def read_series(
        name: Annotated[str, Path(max_length=500)], parameters: Annotated[SeriesParameters, Query()]
    ) -> Response:
        """Raw samples of a metric's series."""
        range_ = parameters.range(now_ns())
        return await asking.answer(
            metrics.series, name, parameters.labels(), range_, parameters.limit, parameters.max_points
        )


def add_status(router: APIRouter, status: Callable[[], ServerStatus], asking: Asking) -> None:
    """The server itself."""

    @router.get("/status", response_model=ServerStatus)
    async def get_status(_: Annotated[Parameters, Query()]) -> Response:
        """How the server is doing."""
        return await asking.answer(status)
