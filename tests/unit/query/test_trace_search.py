from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from support.otlp import load, span, spans_request
from watchkeeper_server.model.answers import TraceSummary
from watchkeeper_server.model.cursors import TraceCursor
from watchkeeper_server.model.filters import SpanFilter
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.model.times import TimeRange
from watchkeeper_server.query.traces import TraceQueries
from watchkeeper_server.store.store import Store

SECOND = 10**9
MS = 10**6
START = 1_795_240_800 * SECOND
RANGE = TimeRange(START, START + 3_600 * SECOND)

Fill = Callable[..., None]


@pytest.fixture
def traces(store: Store) -> TraceQueries:
    return TraceQueries(store.read)


@pytest.fixture
def fill(store: Store, tmp_path: Path) -> Fill:
    def fill(*spans: OtlpSpan, service: str = "shop", resource: dict[str, Any] | None = None) -> None:
        load(store, Kind.SPANS, tmp_path, spans_request(spans, service, resource))

    return fill


def tid(number: int) -> str:
    return f"{number:032x}"


def sid(number: int) -> str:
    return f"{number:016x}"


def found(traces: TraceQueries, range_: TimeRange = RANGE, **conditions: Any) -> list[int]:
    answer = traces.search(SpanFilter(**conditions), range_, 100)
    return [int(one["trace_id"], 16) for one in answer["traces"]]


def all_pages(traces: TraceQueries, limit: int, **conditions: Any) -> list[TraceSummary]:
    summaries: list[TraceSummary] = []
    cursor = None
    while True:
        page = traces.search(SpanFilter(**conditions), RANGE, limit, cursor)
        assert len(page["traces"]) <= limit
        summaries += page["traces"]
        if page["next"] is None:
            return summaries
        cursor = TraceCursor.parse(page["next"])


def test_a_summary_is_over_all_the_traces_spans(traces: TraceQueries, fill: Fill) -> None:
    fill(
        span(trace=tid(256), id=sid(1), start=START, duration=300 * MS, name="GET /"),
        span(trace=tid(256), id=sid(2), parent=sid(1), start=START + 10 * MS, status=2, name="charge"),
        service="shop",
    )
    fill(
        span(
            trace=tid(256),
            id=sid(3),
            parent=sid(2),
            start=START - 5 * MS,
            duration=400 * MS,
            status=2,
            name="POST /pay",
        ),
        service="payments",
    )
    [summary] = traces.search(SpanFilter(operation="charge"), RANGE, 10)["traces"]
    assert summary == {
        "trace_id": tid(256),
        "start": "2026-11-21T05:59:59.995000000Z",
        "duration_ns": 400 * MS,
        "service": "shop",
        "operation": "GET /",
        "root_missing": False,
        "spans": 3,
        "errors": 2,
        "services": [{"name": "shop", "spans": 2, "errors": 1}, {"name": "payments", "spans": 1, "errors": 1}],
    }


def test_until_its_root_arrives_a_trace_is_named_after_its_earliest_span(traces: TraceQueries, fill: Fill) -> None:
    fill(
        span(trace=tid(1), id=sid(2), parent=sid(1), start=START + 5, name="later"),
        span(trace=tid(1), id=sid(3), parent=sid(1), start=START, name="earlier"),
    )
    [before] = traces.search(SpanFilter(), RANGE, 10)["traces"]
    assert (before["operation"], before["root_missing"]) == ("earlier", True)
    fill(span(trace=tid(1), id=sid(1), start=START + 9, name="root"))
    [after] = traces.search(SpanFilter(), RANGE, 10)["traces"]
    assert (after["operation"], after["root_missing"], after["spans"]) == ("root", False, 3)


def test_each_condition_restricts(traces: TraceQueries, fill: Fill) -> None:
    fill(span(trace=tid(1), id=sid(1), start=START, duration=10 * MS, name="a", status=1), service="x")
    fill(span(trace=tid(2), id=sid(2), start=START + 1, duration=20 * MS, name="b", status=2), service="y")
    fill(span(trace=tid(3), id=sid(3), start=START + 2, duration=30 * MS, name="c"), service="y")
    assert found(traces) == [3, 2, 1]
    assert found(traces, service="y") == [3, 2]
    assert found(traces, operation="b") == [2]
    assert found(traces, status="error") == [2]
    assert found(traces, status="ok") == [1]
    assert found(traces, status="unset") == [3]
    assert found(traces, min_duration_ns=20 * MS) == [3, 2]
    assert found(traces, max_duration_ns=20 * MS) == [2, 1]
    assert found(traces, max_duration_ns=0) == []
    assert found(traces, service="x'") == []


def test_conditions_hold_for_one_and_the_same_span(traces: TraceQueries, fill: Fill) -> None:
    fill(span(trace=tid(1), id=sid(1), start=START, name="fast", duration=MS, status=2))
    fill(span(trace=tid(1), id=sid(2), start=START, name="slow", duration=SECOND))
    assert found(traces, operation="fast", status="error") == [1]
    assert found(traces, operation="slow", status="error") == []


def test_attributes_are_the_spans_or_its_resources(traces: TraceQueries, fill: Fill) -> None:
    fill(span(trace=tid(1), id=sid(1), start=START, attributes={"n": 7, "b": False, "e": ""}), resource={"env": "prod"})
    fill(span(trace=tid(2), id=sid(2), start=START, attributes={"n": 8}), resource={"env": "test"})
    assert found(traces, attributes=(("n", "7"),)) == [1]
    assert found(traces, attributes=(("b", "false"),)) == [1]
    assert found(traces, attributes=(("env", "test"),)) == [2]
    assert found(traces, attributes=(("env", "prod"), ("n", "7"))) == [1]
    assert found(traces, attributes=(("env", "prod"), ("n", "8"))) == []
    assert found(traces, attributes=(("e", ""),)) == [1]
    assert found(traces, attributes=(("missing", ""),)) == []


def test_the_range_holds_its_start_and_not_its_end(traces: TraceQueries, fill: Fill) -> None:
    fill(*(span(trace=tid(i), id=sid(i), start=START + i) for i in range(1, 5)))
    assert found(traces, TimeRange(START + 2, START + 4)) == [3, 2]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_neither_skip_nor_repeat_a_trace(traces: TraceQueries, fill: Fill, limit: int) -> None:
    # each trace has spans minutes apart, which interleave with the others', and two of its spans share their time
    for i in range(1, 11):
        fill(
            *(
                span(trace=tid(i << 8), id=sid(i * 10 + j), start=START + j * 400 * SECOND + (i // 2) * SECOND)
                for j in range(3)
            )
        )
    summaries = all_pages(traces, limit)
    assert sorted(int(one["trace_id"], 16) >> 8 for one in summaries) == list(range(1, 11))
    assert all(one["spans"] == 3 for one in summaries)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    starts=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 40)), min_size=1, max_size=40),
    limit=st.integers(1, 5),
)
def test_any_traces_come_once_by_their_newest_span(
    store: Store, tmp_path: Path, starts: list[tuple[int, int]], limit: int
) -> None:
    store._engine.execute("TRUNCATE TABLE spans")
    store._engine.execute("TRUNCATE TABLE traces")
    spans = [span(trace=tid(t), id=sid(i + 1), start=START + s * 7 * SECOND) for i, (t, s) in enumerate(starts)]
    load(store, Kind.SPANS, tmp_path, spans_request(spans))
    newest: dict[int, int] = {}
    for trace, start in starts:
        newest[trace] = max(newest.get(trace, -1), start)
    expected = sorted(newest, key=lambda trace: (newest[trace], trace), reverse=True)
    answered = [int(one["trace_id"], 16) for one in all_pages(TraceQueries(store.read), limit)]
    assert answered == expected


def test_an_empty_store_answers_an_empty_page(traces: TraceQueries) -> None:
    assert traces.search(SpanFilter(), RANGE, 10) == {"traces": [], "next": None}


def test_a_span_that_came_twice_counts_once(traces: TraceQueries, fill: Fill) -> None:
    for _ in range(2):
        fill(span(trace=tid(1), id=sid(1), start=START, status=2))
    [summary] = traces.search(SpanFilter(), RANGE, 10)["traces"]
    assert (summary["spans"], summary["errors"]) == (1, 1)
