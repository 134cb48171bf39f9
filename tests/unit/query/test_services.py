from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from support.otlp import load, log_record, logs_request, span, spans_request
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.model.times import TimeRange
from watchkeeper_server.query.services import ServiceQueries
from watchkeeper_server.store.store import Store

SECOND = 10**9
MS = 10**6
START = 1_795_240_800 * SECOND
RANGE = TimeRange(START, START + 300 * SECOND)
INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(1, 6)

Fill = Callable[..., None]


@pytest.fixture
def services(store: Store) -> ServiceQueries:
    return ServiceQueries(store.read)


@pytest.fixture
def fill(store: Store, tmp_path: Path) -> Fill:
    def fill(*spans: OtlpSpan, service: str = "shop") -> None:
        load(store, Kind.SPANS, tmp_path, spans_request(spans, service))

    return fill


def made(number: int, *, at_seconds: float = 0, kind: int = SERVER, parent: int = 0, **fields: object) -> OtlpSpan:
    return span(
        trace=f"{number:032x}",
        id=f"{number:016x}",
        parent=f"{parent:016x}" if parent else "",
        start=START + int(at_seconds * SECOND),
        kind=kind,
        **fields,
    )


def test_requests_are_server_consumer_and_root_spans(services: ServiceQueries, fill: Fill) -> None:
    fill(
        made(1, kind=SERVER, parent=9),
        made(2, kind=CONSUMER, parent=9),
        made(3, kind=INTERNAL),
        made(4, kind=CLIENT, parent=9),
        made(5, kind=INTERNAL, parent=9, status=2),
        made(6, kind=PRODUCER, parent=9),
    )
    [service] = services.all(RANGE)["services"]
    assert (service["requests"], service["spans"], service["errors"]) == (3, 6, 0)
    assert service["rate_per_second"] == 3 / 300


def test_rate_errors_and_durations_of_a_service(services: ServiceQueries, fill: Fill) -> None:
    fill(*(made(i, duration=i * MS, status=2 if i <= 5 else 0) for i in range(1, 101)))
    [service] = services.all(RANGE)["services"]
    assert (service["errors"], service["error_ratio"]) == (5, 0.05)
    assert service["p50_ns"] == pytest.approx(50 * MS, rel=0.02)
    assert service["p95_ns"] == pytest.approx(95 * MS, rel=0.02)
    assert service["p99_ns"] == pytest.approx(99 * MS, rel=0.02)


def test_the_trend_has_each_piece_of_the_range(services: ServiceQueries, fill: Fill) -> None:
    fill(
        made(1, at_seconds=0, duration=8 * MS),
        made(2, at_seconds=9.9, duration=8 * MS),
        made(3, at_seconds=299, status=2),
    )
    [service] = services.all(RANGE)["services"]
    trend = service["trend"]
    assert (trend["start"], trend["step_seconds"]) == ("2026-11-21T06:00:00.000000000Z", 10)
    assert trend["requests"] == [2, *[0] * 28, 1]
    assert trend["errors"] == [0] * 29 + [1]
    assert trend["p95_ns"][0] == pytest.approx(8 * MS, rel=0.01)
    assert trend["p95_ns"][1:29] == [None] * 28


def test_a_service_that_only_logs_or_only_works_inside_is_listed_too(
    services: ServiceQueries, fill: Fill, store: Store, tmp_path: Path
) -> None:
    fill(made(1, kind=CLIENT, parent=9), service="inner")
    records = [
        log_record(time=START + 5, severity=9),
        log_record(time=START + 6, severity=17),
        log_record(time=START + 7, severity=0, severity_text="CRITICAL"),
    ]
    load(store, Kind.LOGS, tmp_path, logs_request(records, "logger"))
    fill(made(2), made(3), service="busy")
    listed = services.all(RANGE)["services"]
    assert [service["name"] for service in listed] == ["busy", "inner", "logger"]
    busy, inner, logger = listed
    assert (inner["requests"], inner["spans"], inner["p50_ns"], inner["error_ratio"]) == (0, 1, None, 0)
    assert (logger["log_records"], logger["log_errors"]) == (3, 2)
    assert logger["last_seen"] == "2026-11-21T06:00:00.000000007Z"
    assert busy["last_seen"] == "2026-11-21T06:00:00.000000000Z"


def test_what_lies_outside_the_range_does_not_count(services: ServiceQueries, fill: Fill) -> None:
    fill(made(1, at_seconds=-1), made(2, at_seconds=300))
    assert services.all(RANGE)["services"] == []
    assert services.operations("shop", RANGE)["operations"] == []


def test_operations_are_by_name_and_kind_the_most_time_first(services: ServiceQueries, fill: Fill) -> None:
    fill(
        *(made(i, name="GET /", duration=MS, status=2 if i == 1 else 0) for i in range(1, 5)),
        made(10, name="POST /", duration=100 * MS),
        made(11, name="POST /", kind=CONSUMER, duration=2 * MS),
        made(12, name="SELECT", kind=CLIENT, parent=9, duration=SECOND),
    )
    fill(made(13, name="other's", duration=SECOND), service="other")
    answer = services.operations("shop", RANGE)
    assert [(one["name"], one["kind"], one["requests"], one["errors"]) for one in answer["operations"]] == [
        ("POST /", "server", 1, 0),
        ("GET /", "server", 4, 1),
        ("POST /", "consumer", 1, 0),
    ]
    assert answer["operations"][1]["error_ratio"] == 0.25
    assert answer["operations"][0]["p99_ns"] == pytest.approx(100 * MS, rel=0.01)


def test_a_negative_duration_counts_as_none(services: ServiceQueries, fill: Fill) -> None:
    fill(made(1, duration=-5 * SECOND))
    [service] = services.all(RANGE)["services"]
    assert service["p99_ns"] == 0


def test_an_empty_store_has_no_services(services: ServiceQueries) -> None:
    assert services.all(RANGE)["services"] == []
