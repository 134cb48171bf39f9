from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from support.otlp import key_values, load, log_record, logs_request, span, spans_request
from watchkeeper_server.model.errors import NotFoundError
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.query import traces as traces_module
from watchkeeper_server.query.traces import TraceQueries, in_order
from watchkeeper_server.store.store import Store

SECOND = 10**9
START = 1_795_240_800 * SECOND
TRACE = "5b8aa5a2d2c872e8321cf37308d69d00"

Fill = Callable[..., None]


@pytest.fixture
def traces(store: Store) -> TraceQueries:
    return TraceQueries(store.read)


@pytest.fixture
def fill(store: Store, tmp_path: Path) -> Fill:
    def fill(*spans: OtlpSpan, service: str = "shop", resource: dict[str, Any] | None = None) -> None:
        load(store, Kind.SPANS, tmp_path, spans_request(spans, service, resource, scope={"n": 1}))

    return fill


def sid(number: int) -> str:
    return f"{number:016x}"


def test_every_field_of_a_span_is_answered(traces: TraceQueries, fill: Fill) -> None:
    event = OtlpSpan.Event(
        time_unix_nano=START + 7, name="retry", attributes=key_values({"n": 0}), dropped_attributes_count=1
    )
    link = OtlpSpan.Link(
        trace_id=bytes.fromhex("11" * 16),
        span_id=bytes.fromhex("22" * 8),
        trace_state="l=1",
        flags=1,
        attributes=key_values({"why": ["a", 1]}),
        dropped_attributes_count=2,
    )
    sent = span(
        trace=TRACE,
        id="051581bf3cb55c00",
        parent="00f067aa0ba902b7",
        start=START + 5,
        duration=123_456_789,
        name="GET /{id}",
        kind=2,
        status=2,
        attributes={"http.status": 500, "ok": False},
        trace_state="v=1",
        flags=257,
        events=[event],
        links=[link],
        dropped_attributes_count=3,
        dropped_events_count=4,
        dropped_links_count=5,
    )
    sent.status.message = "boom"
    fill(sent, resource={"cores": 8})
    trace = traces.get(TRACE)
    [only] = trace["spans"]
    assert trace["resources"] == {
        only["resource"]: {
            "attributes": {"service.name": "shop", "cores": 8},
            "schema_url": "",
            "dropped_attributes_count": 0,
        }
    }
    assert {key: value for key, value in only.items() if key != "resource"} == {
        "trace_id": TRACE,
        "span_id": "051581bf3cb55c00",
        "parent_span_id": "00f067aa0ba902b7",
        "name": "GET /{id}",
        "kind": "server",
        "service": "shop",
        "start": "2026-11-21T06:00:00.000000005Z",
        "end": "2026-11-21T06:00:00.123456794Z",
        "offset_ns": 0,
        "duration_ns": 123_456_789,
        "status": {"code": "error", "message": "boom"},
        "attributes": {"http.status": 500, "ok": False},
        "events": [
            {
                "time": "2026-11-21T06:00:00.000000007Z",
                "offset_ns": 2,
                "name": "retry",
                "attributes": {"n": 0},
                "dropped_attributes_count": 1,
            }
        ],
        "links": [
            {
                "trace_id": "11" * 16,
                "span_id": "22" * 8,
                "trace_state": "l=1",
                "flags": 1,
                "attributes": {"why": ["a", 1]},
                "dropped_attributes_count": 2,
            }
        ],
        "scope": {
            "name": "tests",
            "version": "",
            "attributes": {"n": 1},
            "schema_url": "",
            "dropped_attributes_count": 0,
        },
        "trace_state": "v=1",
        "flags": 257,
        "dropped_attributes_count": 3,
        "dropped_events_count": 4,
        "dropped_links_count": 5,
    }
    assert (trace["start"], trace["duration_ns"]) == (only["start"], only["duration_ns"])
    assert trace["services"] == [{"name": "shop", "spans": 1, "errors": 1}]


def test_a_trace_that_is_not_stored_is_not_found(traces: TraceQueries, fill: Fill) -> None:
    fill(span(trace=TRACE, id=sid(1), start=START))
    for trace_id in ("ff" * 16, "ff" * 8 + TRACE[16:]):  # the second one's second half is known
        with pytest.raises(NotFoundError, match=trace_id):
            traces.get(trace_id)


def test_spans_come_by_start_and_parents_before_children_whatever_the_clocks_said(
    traces: TraceQueries, fill: Fill
) -> None:
    fill(
        span(trace=TRACE, id=sid(3), parent=sid(2), start=START, name="grandchild"),
        span(trace=TRACE, id=sid(2), parent=sid(1), start=START + 5, name="child"),
        span(trace=TRACE, id=sid(1), start=START + 10, name="root"),
        span(trace=TRACE, id=sid(4), parent=sid(1), start=START + 20, name="second child"),
        span(trace=TRACE, id=sid(5), parent=sid(99), start=START + 15, name="orphan"),
    )
    trace = traces.get(TRACE)
    assert [one["name"] for one in trace["spans"]] == ["root", "child", "grandchild", "orphan", "second child"]
    assert trace["spans"][0]["offset_ns"] == 10


def test_a_trace_may_span_hours_and_services(traces: TraceQueries, fill: Fill) -> None:
    fill(
        span(trace=TRACE, id=sid(1), start=START - 3_600 * SECOND, duration=2 * 86_400 * SECOND, name="job"),
        service="a",
    )
    fill(span(trace=TRACE, id=sid(2), parent=sid(1), start=START + 86_400 * SECOND, status=2, name="part"), service="b")
    trace = traces.get(TRACE)
    assert [one["name"] for one in trace["spans"]] == ["job", "part"]
    assert trace["duration_ns"] == 2 * 86_400 * SECOND
    assert trace["services"] == [{"name": "a", "spans": 1, "errors": 0}, {"name": "b", "spans": 1, "errors": 1}]


def test_a_span_that_came_twice_is_answered_once(traces: TraceQueries, fill: Fill) -> None:
    for _ in range(2):
        fill(span(trace=TRACE, id=sid(1), start=START))
    assert len(traces.get(TRACE)["spans"]) == 1


def test_both_ends_of_a_call_may_share_a_span_id(traces: TraceQueries, fill: Fill) -> None:
    fill(
        span(trace=TRACE, id=sid(1), start=START, kind=3, name="call"),
        span(trace=TRACE, id=sid(1), start=START + 1, kind=2, name="serve"),
    )
    assert [one["name"] for one in traces.get(TRACE)["spans"]] == ["call", "serve"]


def test_an_end_before_the_start_makes_no_trace_end_before_it_starts(traces: TraceQueries, fill: Fill) -> None:
    fill(span(trace=TRACE, id=sid(1), start=START, duration=-5))
    trace = traces.get(TRACE)
    assert trace["duration_ns"] == 0
    assert trace["spans"][0]["duration_ns"] == -5


def test_its_log_records_are_with_it_oldest_first(
    traces: TraceQueries, fill: Fill, store: Store, tmp_path: Path
) -> None:
    fill(span(trace=TRACE, id=sid(1), start=START, duration=600 * SECOND))
    named = {"trace_id": bytes.fromhex(TRACE), "span_id": bytes.fromhex(sid(1))}
    records = [
        log_record(time=START + 599 * SECOND, body="late in the span", **named),
        log_record(time=START - SECOND, body="from a clock behind", **named),
        log_record(time=START, body="another trace's", trace_id=b"\1" * 16),
        log_record(time=START, body="no trace's"),
    ]
    load(store, Kind.LOGS, tmp_path, logs_request(records))
    trace = traces.get(TRACE)
    assert [record["body"] for record in trace["logs"]] == ["from a clock behind", "late in the span"]
    assert not trace["logs_truncated"]


def test_a_large_trace_is_cut_and_says_so(
    traces: TraceQueries, fill: Fill, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces_module, "MAX_SPANS", 20)
    monkeypatch.setattr(traces_module, "MAX_LOG_RECORDS", 3)
    fill(span(trace=TRACE, id=sid(1), start=START, duration=SECOND))
    fill(*(span(trace=TRACE, id=sid(i), parent=sid(1), start=START + i) for i in range(2, 31)), service="b")
    load(
        store,
        Kind.LOGS,
        tmp_path,
        logs_request(log_record(time=START + i, body=i, trace_id=bytes.fromhex(TRACE)) for i in range(5)),
    )
    trace = traces.get(TRACE)
    assert (len(trace["spans"]), trace["truncated"]) == (20, True)
    assert [one["span_id"] for one in trace["spans"]] == [sid(i) for i in range(1, 21)]
    assert trace["services"] == [{"name": "b", "spans": 29, "errors": 0}, {"name": "shop", "spans": 1, "errors": 0}]
    assert trace["duration_ns"] == SECOND
    assert ([record["body"] for record in trace["logs"]], trace["logs_truncated"]) == ([2, 3, 4], True)


@given(
    st.lists(
        st.tuples(st.integers(1, 8), st.integers(0, 8), st.integers(0, 20)),  # id, parent (0: none), start
        max_size=12,
    )
)
def test_any_spans_are_ordered_each_once_and_after_its_parent_unless_in_a_circle(
    spans: list[tuple[int, int, int]],
) -> None:
    rows = [
        {"id": sid(id_), "parent": sid(parent), "start_ns": start, "row": i}
        for i, (id_, parent, start) in enumerate(spans)
    ]
    ordered = in_order(rows)
    assert sorted(row["row"] for row in ordered) == list(range(len(rows)))
    if len({row["id"] for row in rows}) == len(rows):
        parent_of = {row["id"]: row["parent"] for row in rows}
        place = {row["id"]: i for i, row in enumerate(ordered)}
        for row in rows:
            if row["parent"] in place and not _in_circle(row["id"], parent_of):
                assert place[row["parent"]] < place[row["id"]]


def _in_circle(id_: str, parent_of: dict[str, str]) -> bool:
    at = parent_of[id_]
    for _ in parent_of:
        if at == id_:
            return True
        at = parent_of.get(at, "")
    return False
