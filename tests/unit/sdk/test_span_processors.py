"""OpenTelemetry's own processors and exporters on our spans, and our standing back where its SDK is installed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags

from support.sdk import Sink
from watchkeeper import TraceOptions
from watchkeeper.export.otlp.resource import SCHEMA_URL, resource_field
from watchkeeper.export.otlp.spans import SpanEncoder
from watchkeeper.testing import SequentialIds
from watchkeeper.tracing.sampling import always_off, always_on, sampler_of
from watchkeeper.tracing.span import Span
from watchkeeper.tracing.tracer import TracerProvider

RESOURCE = {"service.name": "shop", "process.pid": 7}


@pytest.fixture
def kept() -> list[Span]:
    return []


@pytest.fixture
def provider(kept: list[Span]) -> TracerProvider:
    return TracerProvider(kept.append, always_on, SequentialIds(), resource=RESOURCE)


def make_span(provider: TracerProvider) -> None:
    tracer = provider.get_tracer("library", "1.2", "https://example.org/schema", {"scope.key": True})
    parent = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))
    other = SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(0))
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    span = tracer.start_span("work", context, SpanKind.CLIENT, {"a": 1, "list": ["x", "y"]}, [Link(other, {"why": 1})])
    span.add_event("noted", {"n": 1})
    span.set_status(StatusCode.ERROR, "broken")
    span.end()


def test_the_official_encoder_says_what_ours_says(provider: TracerProvider, kept: list[Span]) -> None:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    make_span(provider)
    official = encode_spans(exporter.get_finished_spans())
    ours = ExportTraceServiceRequest.FromString(SpanEncoder(resource_field(RESOURCE)).encode(kept))
    for message in (official, ours):
        message.resource_spans[0].schema_url = SCHEMA_URL
        message.resource_spans[0].scope_spans[0].spans[0].flags &= ~0xFF  # W3C's own, which the official one leaves out
        message.resource_spans[0].scope_spans[0].spans[0].links[0].flags &= ~0xFF
    assert official == ours


def test_the_official_exporter_delivers_our_spans(provider: TracerProvider, sink: Sink) -> None:
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{sink.url}/v1/traces")))
    make_span(provider)
    assert provider.force_flush()
    assert [span.name for span in sink.spans()] == ["work"]
    provider.shutdown()


def test_the_official_console_prints_our_spans(provider: TracerProvider) -> None:
    out = io.StringIO()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out)))
    make_span(provider)
    told = json.loads(out.getvalue())
    assert (told["name"], told["kind"], told["parent_id"]) == ("work", "SpanKind.CLIENT", "0x0000000000000def")
    assert told["attributes"] == {"a": 1, "list": ["x", "y"]}
    assert told["resource"]["attributes"] == RESOURCE


class Recording(SpanProcessor):
    def __init__(self) -> None:
        self.started: list[Any] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:  # noqa: ARG002
        self.started.append((span.name, dict(span.attributes)))
        span.set_attribute("added", True)

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


def test_a_processor_sees_the_start_with_its_attributes_and_may_add_some(
    provider: TracerProvider, kept: list[Span]
) -> None:
    processor = Recording()
    provider.add_span_processor(processor)
    provider.get_tracer("x").start_span("s", attributes={"a": 1}).end()
    assert processor.started == [("s", {"a": 1})]
    assert kept[0].attributes == {"a": 1, "added": True}
    assert processor.ended[0].attributes == {"a": 1, "added": True}


def test_a_view_is_built_when_it_is_looked_at(provider: TracerProvider) -> None:
    processor = Recording()
    provider.add_span_processor(processor)
    provider.get_tracer("x").start_span("s").end()
    (view,) = processor.ended
    assert view.context.span_id == 1
    assert "_name" not in vars(view)
    assert (view.name, view.parent, view.events, view.dropped_links) == ("s", None, (), 0)
    with pytest.raises(AttributeError):
        _ = view.no_such_thing


def test_tracers_made_before_a_processor_was_added_use_it(provider: TracerProvider) -> None:
    tracer = provider.get_tracer("early")
    processor = Recording()
    provider.add_span_processor(processor)
    provider.wire(lambda _span: None, always_on, SequentialIds(), provider.clock)
    tracer.start_span("s").end()
    assert [span.name for span in processor.ended] == ["s"]


def test_what_is_not_kept_is_shown_to_no_processor(kept: list[Span]) -> None:
    processor = Recording()
    provider = TracerProvider(kept.append, always_off)
    provider.add_span_processor(processor)
    provider.get_tracer("x").start_span("s").end()
    assert (processor.started, processor.ended) == ([], [])


def test_a_processor_sees_the_end_of_a_watched_trace_once_it_is_kept() -> None:
    exporter = InMemorySpanExporter()
    sampler = sampler_of(TraceOptions(sampler="adaptive", spans_per_second=0, slow_seconds=60))
    provider = TracerProvider(lambda _span: None, sampler)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("x")
    tracer.start_span("well").end()
    with tracer.start_as_current_span("failed") as root:
        tracer.start_span("child").end()
        root.set_status(StatusCode.ERROR)
    provider.force_flush()
    assert [span.name for span in exporter.get_finished_spans()] == ["child", "failed"]
    provider.shutdown()


class Broken:
    def fail(self, *_arguments: Any) -> None:
        raise RuntimeError("somebody else's bug")

    on_start = on_end = force_flush = shutdown = fail


def test_a_processor_that_raises_harms_nobody(provider: TracerProvider, kept: list[Span], production: None) -> None:
    after = Recording()
    provider.add_span_processor(Broken())
    provider.add_span_processor(after)
    provider.get_tracer("x").start_span("s").end()
    assert (len(kept), len(after.ended)) == (1, 1)
    assert provider.force_flush() is False
    provider.shutdown()


def test_a_missing_sdk_is_named(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "watchkeeper.tracing.views", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ImportError, match="pip install opentelemetry-sdk"):
        provider.add_span_processor(Recording())


def run(program: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def test_where_the_official_provider_is_installed_it_keeps_every_span() -> None:
    assert run("""
        import json
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        import watchkeeper as wk
        from watchkeeper import testing

        exporter, theirs = InMemorySpanExporter(), TracerProvider()
        theirs.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(theirs)
        with testing.capture() as seen:
            with wk.span("ours"), trace.get_tracer("library").start_as_current_span("theirs"):
                pass
        inner, outer = exporter.get_finished_spans()
        print(json.dumps({
            "names": [inner.name, outer.name],
            "joined": inner.parent.span_id == outer.context.span_id,
            "ours": len(seen.spans),
            "provider": trace.get_tracer_provider() is theirs,
        }))
    """) == {"names": ["theirs", "ours"], "joined": True, "ours": 0, "provider": True}


def test_the_global_provider_takes_processors_and_shutdown_flushes_them() -> None:
    assert run("""
        import json
        from opentelemetry import trace
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        import watchkeeper as wk

        wk.configure(wk.Options(service=wk.ServiceOptions("shop"), export={}))
        exporter = InMemorySpanExporter()
        trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
        with wk.span("ours"):
            pass
        wk.shutdown()
        (span,) = exporter.get_finished_spans()
        print(json.dumps([span.name, span.resource.attributes["service.name"], span.instrumentation_scope.name]))
    """) == ["ours", "shop", "watchkeeper"]
