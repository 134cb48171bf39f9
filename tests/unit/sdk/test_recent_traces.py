"""The ring of recent traces."""

from __future__ import annotations

import pytest
from opentelemetry.trace import StatusCode, use_span

import watchkeeper as wk
from support.sdk import Sink
from watchkeeper import LogOptions, Options
from watchkeeper.testing import FakeClock, SequentialIds
from watchkeeper.tracing.recent import MOST_SPANS, MOST_SPANS_OF_ONE, MOST_TRACES, RecentTraces
from watchkeeper.tracing.sampling import always_on
from watchkeeper.tracing.span import Span
from watchkeeper.tracing.tracer import TracerProvider


@pytest.fixture
def time() -> FakeClock:
    return FakeClock()


@pytest.fixture
def spans() -> list[Span]:
    return []


@pytest.fixture
def provider(time: FakeClock, spans: list[Span]) -> TracerProvider:
    return TracerProvider(spans.append, always_on, SequentialIds(), time.clock())


def file_traces(provider: TracerProvider, spans: list[Span], traces: int, each: int = 1) -> RecentTraces:
    ring, tracer = RecentTraces(), provider.get_tracer("x")
    for _ in range(traces):
        with tracer.start_as_current_span("root"):
            for _ in range(each - 1):
                tracer.start_span("child").end()
        ring.file(spans)
        spans.clear()
    return ring


def test_a_summary_tells_root_duration_and_errors(time: FakeClock, spans: list[Span], provider: TracerProvider) -> None:
    tracer = provider.get_tracer("x")
    with tracer.start_as_current_span("POST /orders"):
        time.advance(0.1)
        with tracer.start_as_current_span("charge") as charge:
            time.advance(0.2)
            charge.set_status(StatusCode.ERROR)
        time.advance(0.1)
    ring = RecentTraces()
    ring.file(spans)
    (found,) = ring.latest(10)
    assert (found.trace_id, found.name, found.errors, found.missing) == (f"{1:032x}", "POST /orders", 1, 0)
    assert found.duration_seconds == pytest.approx(0.4)
    assert [(span.name, span.failed) for span in found.spans] == [("POST /orders", False), ("charge", True)]
    assert found.spans[1].parent_id == found.root.span_id
    assert found.spans[1].duration_seconds == pytest.approx(0.2)


def test_spans_of_one_trace_come_together_over_batches(spans: list[Span], provider: TracerProvider) -> None:
    tracer, ring = provider.get_tracer("x"), RecentTraces()
    with tracer.start_as_current_span("root"):
        tracer.start_span("child").end()
        ring.file(spans)
        assert ring.latest(1)[0].name == "child"
        spans.clear()
    ring.file(spans)
    assert [span.name for span in ring.latest(1)[0].spans] == ["root", "child"]


def test_the_newest_thousand_traces_are_kept_newest_first(spans: list[Span], provider: TracerProvider) -> None:
    ring = file_traces(provider, spans, MOST_TRACES + 10)
    found = ring.latest(5_000)
    assert [int(trace.trace_id, 16) for trace in found] == list(range(MOST_TRACES + 10, 10, -1))
    assert [int(trace.trace_id, 16) for trace in ring.latest(2)] == [MOST_TRACES + 10, MOST_TRACES + 9]
    assert ring.latest(0) == []
    assert ring.find(10) is None


def test_a_long_trace_is_kept_in_part_and_says_so(spans: list[Span], provider: TracerProvider) -> None:
    (found,) = file_traces(provider, spans, 1, MOST_SPANS_OF_ONE + 7).latest(1)
    assert (len(found.spans), found.missing) == (MOST_SPANS_OF_ONE, 7)


def test_all_spans_together_are_bounded(spans: list[Span], provider: TracerProvider) -> None:
    ring = file_traces(provider, spans, MOST_SPANS // 100 + 50, 100)
    assert sum(len(trace.spans) for trace in ring.latest(5_000)) == MOST_SPANS


def test_a_trace_that_comes_back_after_a_thousand_others_is_told_from_what_is_kept(
    spans: list[Span], provider: TracerProvider
) -> None:
    ring, tracer = RecentTraces(), provider.get_tracer("x")
    first = tracer.start_span("first")
    with use_span(first):
        tracer.start_span("child").end()
    ring.file(spans)
    spans.clear()
    for _ in range(MOST_TRACES):
        tracer.start_span("another").end()
    ring.file(spans)
    assert ring.find(1) is None
    spans.clear()
    first.end()
    ring.file(spans)
    (found,) = ring.latest(1)
    assert ([span.name for span in found.spans], found.missing) == (["first", "child"], 0)


def test_exported_spans_are_found_by_the_applications_own_words(sink: Sink) -> None:
    wk.configure(sink.options(logs=LogOptions(stream="off")))
    with wk.span("outer") as outer, wk.span("inner"):
        pass
    assert wk.flush()
    trace_id = outer.get_span_context().trace_id
    assert wk.recent_traces(limit=1)[0].name == "outer"
    assert wk.trace_summary(trace_id) == wk.trace_summary(f"{trace_id:032x}") == wk.recent_traces(1)[0]
    assert wk.trace_summary("0" * 32) is None
    assert wk.trace_summary("no id") is None


def test_traces_that_go_nowhere_are_recent_too() -> None:
    wk.configure(Options(logs=LogOptions(stream="off"), export={}))
    try:
        with wk.span("outer"):
            pass
        assert wk.flush()
        assert [trace.name for trace in wk.recent_traces()] == ["outer"]
    finally:
        wk.shutdown(0.5)


def test_a_new_client_begins_with_an_empty_ring(sink: Sink) -> None:
    wk.configure(sink.options(logs=LogOptions(stream="off")))
    with wk.span("one"):
        pass
    wk.flush()
    wk.shutdown()
    assert [trace.name for trace in wk.recent_traces()] == ["one"]
    wk.configure(sink.options(logs=LogOptions(stream="off")))
    assert wk.recent_traces() == []
