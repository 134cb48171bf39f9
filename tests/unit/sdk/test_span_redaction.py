"""Secrets in spans: gone before any exporter, processor or test sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext

import watchkeeper as wk
from support.sdk import Sink, attributes, request
from watchkeeper import LogOptions, Options, RedactionOptions, SignalOptions
from watchkeeper.testing import Captured, capture
from watchkeeper.tracing.api import provider

SECRET = "hunter2-hunter2"
QUIET = LogOptions(stream="off")


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """OpenTelemetry's own exporter, which our provider feeds."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    provider.processors = None


def make_span() -> None:
    """One that holds a secret wherever a span can hold one."""
    link = Link(SpanContext(1, 2, is_remote=False), {"api_key": SECRET})
    tracer = trace.get_tracer("shop")
    with (
        suppress(ValueError),
        tracer.start_as_current_span(f"login token={SECRET}", links=[link]) as span,
    ):
        span.set_attribute("http.request.header.authorization", SECRET)
        span.set_attribute("note", f"password={SECRET}")
        span.set_attribute("nested", {"card_number": SECRET, "left": 1})
        span.set_attribute("order_id", 7)
        span.add_event(f"said token={SECRET}", {"secret": SECRET})
        raise ValueError(f"password={SECRET} is wrong")


def test_no_exporter_of_ours_is_shown_a_secret(sink: Sink) -> None:
    wk.configure(sink.options(logs=QUIET))
    make_span()
    assert wk.flush()
    assert SECRET.encode() not in b"".join(body for _, _, body in sink.requests)
    (span,) = sink.spans()
    assert span.name == "login token=[redacted]"
    assert attributes(span)["order_id"] == 7
    assert attributes(span)["nested"] == {"card_number": "[redacted]", "left": 1}
    assert "password=[redacted] is wrong" in span.status.message
    failure = attributes(span.events[1])
    assert failure["exception.message"] == "password=[redacted] is wrong"
    assert 'raise ValueError(f"password={SECRET} is wrong")' in failure["exception.stacktrace"]


@pytest.mark.parametrize(("protocol", "endpoint"), [("zipkin", "/zipkin"), ("console", "stdout")])
def test_nor_is_zipkin_or_the_terminal(
    sink: Sink, capsys: pytest.CaptureFixture[str], protocol: Any, endpoint: str
) -> None:
    url = sink.url + endpoint if protocol == "zipkin" else endpoint
    wk.configure(Options(logs=QUIET, export={"traces": SignalOptions(url, protocol=protocol)}))
    make_span()
    assert wk.flush()
    told = b"".join(sink.bodies("/zipkin")).decode() + capsys.readouterr().out
    assert SECRET not in told
    assert "[redacted]" in told


def test_recent_traces_name_no_secret(sink: Sink) -> None:
    wk.configure(sink.options(logs=QUIET))
    make_span()
    assert wk.flush()
    (trace_told,) = wk.recent_traces()
    assert trace_told.name == "login token=[redacted]"


def test_opentelemetrys_processors_are_shown_what_is_left(exported: InMemorySpanExporter) -> None:
    with capture():
        make_span()
    (span,) = exported.get_finished_spans()
    assert SECRET not in span.to_json().replace("password={SECRET}", "")
    assert span.attributes is not None
    assert span.attributes["http.request.header.authorization"] == "[redacted]"


def test_a_processor_that_looks_at_once_sees_no_secret_either() -> None:
    looked: list[str] = []

    class Looking(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            looked.append(repr(span.attributes))

    provider.add_span_processor(Looking())
    try:
        with capture(), wk.span("pay", password=SECRET):
            pass
    finally:
        provider.processors = None
    assert "[redacted]" in looked[0]
    assert SECRET not in looked[0]


@pytest.mark.parametrize(
    ("path", "attribute", "left"),
    [
        ("/reset?token=abc&page=2", "url.query", "token=[redacted]&page=2"),
        ("/file?X-Amz-Signature=0a1b&x=1", "url.query", "X-Amz-Signature=[redacted]&x=1"),
        ("/file?se=2026&sig=0a1b%2F", "url.query", "se=2026&sig=[redacted]"),
        ("/signed/eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0", "url.path", "/signed/[redacted]"),
    ],
)
async def test_a_requests_path_and_query_lose_theirs(seen: Captured, path: str, attribute: str, left: str) -> None:
    app = FastAPI()
    wk.instrument(app)
    await request(app, path)
    assert seen.spans[0].attributes[attribute] == left


def test_keys_and_patterns_of_the_options_count_here_too() -> None:
    redaction = RedactionOptions(keys=("iban",), patterns=(r"CUST-\d+",))
    with (
        capture(Options(logs=LogOptions(stream="off", redaction=redaction))) as seen,
        wk.span("pay", iban="DE1", who="CUST-77", note="ordinary"),
    ):
        pass
    assert seen.spans[0].attributes == {"iban": "[redacted]", "who": "[redacted]", "note": "ordinary"}


def test_redaction_can_be_switched_off_for_spans_as_well() -> None:
    logs = LogOptions(stream="off", redaction=RedactionOptions(enabled=False))
    with capture(Options(logs=logs)) as seen, wk.span("pay", password="p"):
        pass
    assert seen.spans[0].attributes == {"password": "p"}


def test_a_span_without_secrets_is_left_as_it_is(seen: Captured) -> None:
    for _ in range(2):  # names of attributes are looked at once
        with wk.span("pay", order_id=7, customer="ada") as span:
            told = span._attributes
    assert seen.spans[1]._attributes is told


def test_a_span_that_cannot_be_looked_through_is_shown_without_its_words(seen: Captured, production: None) -> None:
    with wk.span("pay") as span:
        span._attributes = {"broken": object(), "password": SECRET, 7: 1}
    assert SECRET not in repr(seen.spans[0].attributes)
