"""Which traces are kept: samplers, and the traces that the adaptive one watches."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import watchkeeper as wk
from support.sdk import dropped
from watchkeeper import ConfigurationError, LogOptions, Options, TraceOptions
from watchkeeper.testing import FakeClock, SequentialIds, capture
from watchkeeper.tracing import sampling
from watchkeeper.tracing.span import Span
from watchkeeper.tracing.tracer import TracerProvider
from watchkeeper.tracing.undecided import MOST_OF_ONE, Undecided

REMOTE, LOCAL = True, False


@pytest.fixture
def time() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kept() -> list[Span]:
    return []


def adaptive(
    time: FakeClock, kept: list[Span], spans_per_second: float = 0.0, name: Any = "parentbased_adaptive"
) -> TracerProvider:
    options = TraceOptions(sampler=name, spans_per_second=spans_per_second, slow_seconds=1.0)
    return TracerProvider(kept.append, sampling.sampler_of(options, time.clock()), SequentialIds(), time.clock())


@pytest.mark.parametrize(
    ("sampler", "parent", "remote", "keep"),
    [
        ("always_on", False, REMOTE, True),
        ("always_off", True, REMOTE, False),
        ("parentbased_always_on", None, LOCAL, True),
        ("parentbased_always_on", False, REMOTE, False),
        ("parentbased_always_off", None, LOCAL, False),
        ("parentbased_always_off", True, REMOTE, True),
        ("parentbased_traceidratio", True, REMOTE, True),
        ("ratelimited", True, REMOTE, False),
        ("ratelimited", True, LOCAL, True),
        ("parentbased_ratelimited", True, REMOTE, True),
        ("parentbased_ratelimited", None, LOCAL, False),
        ("adaptive", True, REMOTE, False),
        ("adaptive", True, LOCAL, True),
        ("parentbased_adaptive", True, REMOTE, True),
        ("parentbased_adaptive", None, LOCAL, False),
    ],
)
def test_samplers_decide_as_they_are_named(sampler: Any, parent: bool | None, remote: bool, keep: bool) -> None:
    options = TraceOptions(sampler=sampler, ratio=0.0, traces_per_second=0, spans_per_second=0)
    assert sampling.sampler_of(options)(1, parent, remote) is keep


def test_the_ratio_sampler_keeps_its_share_and_the_same_traces_everywhere() -> None:
    keep = sampling.ratio(0.25)
    step = 2**64 // 1000
    decisions = [keep(number * step, None, LOCAL) for number in range(1000)]
    assert sum(decisions) in {250, 251}
    assert decisions == [sampling.ratio(0.25)((7 << 64) + number * step, None, LOCAL) for number in range(1000)]


def test_the_rate_limited_sampler_keeps_so_many_traces_a_second(time: FakeClock) -> None:
    keep = sampling.sampler_of(TraceOptions(sampler="ratelimited", traces_per_second=5), time.clock())
    assert sum(keep(1, None, LOCAL) for _ in range(100)) == 5
    time.advance(0.2)
    assert sum(keep(1, None, LOCAL) for _ in range(100)) == 1
    time.advance(3_600)  # an idle hour saves up a second's worth
    assert sum(keep(1, None, LOCAL) for _ in range(100)) == 5


def test_less_than_one_trace_a_second_is_a_rate_too(time: FakeClock) -> None:
    keep = sampling.sampler_of(TraceOptions(sampler="ratelimited", traces_per_second=0.1), time.clock())
    decisions = []
    for _ in range(100):
        decisions.append(keep(1, None, LOCAL))
        time.advance(1)
    assert sum(decisions) == 10


def test_a_clock_that_goes_back_adds_nothing_and_breaks_nothing(time: FakeClock) -> None:
    keep = sampling.sampler_of(TraceOptions(sampler="ratelimited", traces_per_second=1), time.clock())
    assert keep(1, None, LOCAL)
    time.advance(-10)
    assert not keep(1, None, LOCAL)
    time.advance(1)
    assert keep(1, None, LOCAL)


def test_the_adaptive_sampler_holds_its_budget_of_spans_whatever_the_load(time: FakeClock, kept: list[Span]) -> None:
    tracer = adaptive(time, kept, spans_per_second=100).get_tracer("test")
    for _ in range(6_000):  # a minute of 100 traces a second of five spans each: five times the budget
        with tracer.start_as_current_span("root"):
            for _ in range(4):
                tracer.start_span("child").end()
        time.advance(0.01)
    assert len(kept) == pytest.approx(6_000, rel=0.05)
    assert {sum(span.trace_id == root.trace_id for span in kept) for root in kept[::50]} == {5}, "traces are whole"


def test_the_adaptive_sampler_keeps_everything_below_its_budget(time: FakeClock, kept: list[Span]) -> None:
    tracer = adaptive(time, kept, spans_per_second=100).get_tracer("test")
    for _ in range(100):
        with tracer.start_as_current_span("root"):
            tracer.start_span("child").end()
        time.advance(0.05)
    assert len(kept) == 200


def test_a_failed_trace_is_kept_whole_though_there_is_no_room(time: FakeClock, kept: list[Span]) -> None:
    tracer = adaptive(time, kept).get_tracer("test")
    with tracer.start_as_current_span("root") as root:
        assert root.is_recording()
        assert not root.get_span_context().trace_flags.sampled
        with tracer.start_as_current_span("child"):
            tracer.start_span("grandchild").end()
        root.set_status(StatusCode.ERROR)
        assert kept == []
    assert [span.name for span in kept] == ["grandchild", "child", "root"]
    assert all(span.get_span_context().trace_flags.sampled for span in kept)


def test_a_failure_below_the_root_keeps_the_trace(time: FakeClock, kept: list[Span]) -> None:
    tracer = adaptive(time, kept).get_tracer("test")
    with tracer.start_as_current_span("root"):
        with pytest.raises(ValueError, match="no"), tracer.start_as_current_span("child"):
            raise ValueError("no")
        tracer.start_span("sibling").end()
    assert [span.name for span in kept] == ["child", "sibling", "root"]


def test_a_slow_root_is_kept_and_a_quick_one_is_not(time: FakeClock, kept: list[Span]) -> None:
    tracer = adaptive(time, kept).get_tracer("test")
    with tracer.start_as_current_span("quick"):
        tracer.start_span("child").end()
        time.advance(0.999)
    assert kept == []
    with tracer.start_as_current_span("slow"):
        time.advance(1)
    assert [span.name for span in kept] == ["slow"]


def test_a_span_that_ends_after_its_root_follows_the_decision(time: FakeClock, kept: list[Span]) -> None:
    tracer = adaptive(time, kept).get_tracer("test")
    late = []
    for outcome in (StatusCode.ERROR, StatusCode.UNSET):
        with tracer.start_as_current_span("root") as root:
            late.append(tracer.start_span("late"))
            root.set_status(outcome)
    for span in late:
        span.end()
    assert [span.name for span in kept] == ["root", "late"]


def test_what_a_caller_did_not_sample_is_kept_if_it_fails_here(time: FakeClock, kept: list[Span]) -> None:
    tracer = adaptive(time, kept, spans_per_second=100).get_tracer("test")
    identity = trace.SpanContext(7, 8, is_remote=True)
    caller = trace.set_span_in_context(trace.NonRecordingSpan(identity))
    tracer.start_span("well", caller).end()
    failed = tracer.start_span("failed", caller)
    failed.set_status(StatusCode.ERROR)
    failed.end()
    assert [span.name for span in kept] == ["failed"]


def test_what_failed_and_slow_traces_took_is_missing_from_the_budget(time: FakeClock, kept: list[Span]) -> None:
    provider = adaptive(time, kept, spans_per_second=10)
    tracer = provider.get_tracer("test")
    for _ in range(10):
        tracer.start_span("well").end()
    for _ in range(15):
        span = tracer.start_span("failed")
        span.set_status(StatusCode.ERROR)
        span.end()
    assert len(kept) == 25
    time.advance(1.5)  # 15 tokens: the failed ones' price
    tracer.start_span("too soon").end()
    time.advance(0.1)
    tracer.start_span("again").end()
    assert kept[-1].name == "again"
    assert len(kept) == 26


def test_a_storm_of_failures_does_not_silence_the_sampler_for_ever(time: FakeClock) -> None:
    bucket = sampling.Bucket(10, time.clock())
    bucket.spend(1_000_000)
    time.advance(sampling.DEBT_SECONDS + 0.2)
    assert bucket.take()


def test_a_long_trace_is_held_in_part_and_what_is_missing_is_counted(
    time: FakeClock, kept: list[Span], production: None
) -> None:
    tracer = adaptive(time, kept).get_tracer("test")
    before = dropped("traces", "undecided_full")
    with tracer.start_as_current_span("root") as root:
        for _ in range(MOST_OF_ONE + 3):
            tracer.start_span("child").end()
        root.set_status(StatusCode.ERROR)
    assert len(kept) == MOST_OF_ONE + 1
    assert dropped("traces", "undecided_full") - before == 3


def test_all_that_is_held_is_bounded_and_its_room_comes_back(time: FakeClock, kept: list[Span]) -> None:
    sampler = sampling.sampler_of(TraceOptions(sampler="adaptive", spans_per_second=0), time.clock())
    assert isinstance(sampler, sampling.Adaptive)
    provider = TracerProvider(kept.append, sampler, clock=time.clock())
    shared = provider.undecided = Undecided(kept.append, sampler, room=3)
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("first"):
        for _ in range(5):
            tracer.start_span("child").end()
        assert len(shared.room) == 0
    assert len(shared.room) == 3
    lost = tracer.start_span("never ended")
    tracer.start_span("child", trace.set_span_in_context(lost)).end()
    assert len(shared.room) == 2
    del lost
    gc.collect()
    assert len(shared.room) == 3
    assert kept == []


@pytest.fixture
def watched_application() -> Iterator[Any]:
    traces = TraceOptions(sampler="parentbased_adaptive", spans_per_second=0, slow_seconds=60)
    with capture(Options(traces=traces, logs=LogOptions(stream="off"))) as seen:
        yield seen


def test_configure_wires_the_adaptive_sampler(watched_application: Any) -> None:
    with wk.span("well"):
        pass
    with pytest.raises(ValueError, match="no"), wk.span("failed"), wk.span("inner"):
        raise ValueError("no")
    assert [span.name for span in watched_application.spans] == ["inner", "failed"]


@pytest.mark.parametrize(
    ("sampler", "argument", "expected"),
    [
        ("ratelimited", "7", TraceOptions(sampler="ratelimited", traces_per_second=7)),
        ("parentbased_ratelimited", "", TraceOptions(sampler="parentbased_ratelimited", traces_per_second=100)),
        ("parentbased_adaptive", "0.5", TraceOptions(sampler="parentbased_adaptive", spans_per_second=0.5)),
        ("always_on", "7", TraceOptions(sampler="always_on")),
    ],
)
def test_the_samplers_argument_is_what_the_sampler_needs(sampler: str, argument: str, expected: TraceOptions) -> None:
    environ = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert Options.from_environment(environ).traces == expected


def test_how_long_is_slow_is_read_in_milliseconds() -> None:
    assert Options.from_environment({"WATCHKEEPER_TRACES_SLOW": "250"}).traces.slow_seconds == 0.25


@pytest.mark.parametrize("name", ["jaeger_remote", "parentbased_jaeger_remote", "xray"])
def test_a_sampler_that_asks_a_service_is_refused_with_what_to_use_instead(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"OTEL_TRACES_SAMPLER is '{name}'.*use parentbased_ratelimited"):
        Options.from_environment({"OTEL_TRACES_SAMPLER": name})
    with pytest.raises(ConfigurationError, match=r"traces\.sampler"):
        Options(traces=TraceOptions(sampler=name)).validate()  # type: ignore[arg-type]
