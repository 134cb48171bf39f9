"""What all integrations of queues share, and that none of them doubles OpenTelemetry's own."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.trace import StatusCode

import watchkeeper as wk
from watchkeeper.context import Context, attach, detach, get_current
from watchkeeper.integrations import aio_pika, aiokafka, botocore, celery, confluent_kafka, pika
from watchkeeper.integrations.calls import CACHE, QUEUE, busy
from watchkeeper.integrations.messaging import Message, Processing, Publishing, Receiving, label_of, text_headers
from watchkeeper.testing import Captured, FakeClock


@pytest.mark.parametrize(
    ("queue", "label"),
    [
        ("orders", "orders"),
        ("orders.v2", "orders.v2"),
        ("amq.gen-JzTY20BRgKO-HjmUJj0wLg", "amq.gen-{id}"),
        ("amq.rabbitmq.reply-to.g1h2AA5yZXBseUA0NDg5AAA==.8G+ybGyP7Sxpxg==", "amq.rabbitmq.reply-to.{id}"),
        ("reply.6ba7b810-9dad-11d1-80b4-00c04fd430c8", "reply.{uuid}"),
        ("amq_0123456789abcdef0123456789abcdef", "amq_{id}"),
        ("amq.ctag.0123456789abcdef", "amq.ctag.{id}"),
        ("", "default"),
        ("x" * 300, "x" * 200),
    ],
)
def test_labels_are_of_bounded_variety(queue: str, label: str) -> None:
    assert label_of(queue) == label


def test_headers_are_read_as_text_whatever_they_are() -> None:
    assert text_headers([("A", b"\xff"), ("b", "1"), ("c", 7), ("d", None), (b"e", "1")]) == {"a": "ÿ", "b": "1"}


def test_what_a_message_says_cannot_break_its_processing(seen: Captured) -> None:
    headers = {"traceparent": "00-nonsense", "x-correlation-id": "two words\n", "baggage": "=;,"}
    with Processing(Message("rabbitmq", "orders", headers)):
        wk.get_logger("x").info("handled")
    span = seen.span("process orders")
    assert not span.parent_id
    assert seen.records[-1].correlation_id == f"{span.trace_id:032x}"


def test_baggage_comes_with_the_message_and_goes_on(seen: Captured) -> None:
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    with Processing(Message("rabbitmq", "orders", {"traceparent": parent, "baggage": "tenant=acme"})):
        added = Publishing("rabbitmq", "mails").headers({})
    assert added["baggage"] == "tenant=acme"
    assert added["traceparent"].startswith("00-" + "a" * 32)


def test_durations_are_those_of_the_clock() -> None:
    clock = FakeClock()
    with wk.testing.capture(clock=clock.clock()) as seen:
        before = seen.metric("queue_processing_duration_seconds_sum", queue="timed") or 0.0
        receiving = Receiving()
        clock.advance(2)
        receiving.got([Message("rabbitmq", "timed", {})])
        with Processing(Message("rabbitmq", "timed", {})):
            clock.advance(3)
    received, processed = seen.span("receive timed"), seen.span("process timed")
    assert received.end_time - received.start_time == 2_000_000_000  # type: ignore[operator]
    assert processed.end_time - processed.start_time == 3_000_000_000  # type: ignore[operator]
    assert seen.metric("queue_processing_duration_seconds_sum", queue="timed") == before + 3


def test_what_ends_without_an_exception_may_have_failed(seen: Captured) -> None:
    Publishing("kafka", "orders").end(error_type="_MSG_TIMED_OUT")
    assert seen.span("send orders").status.status_code is StatusCode.ERROR


def test_a_failure_of_ours_is_not_the_handlers(
    seen: Captured, production: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: Any, **_named: Any) -> None:
        raise RuntimeError("a propagator of the application's")

    monkeypatch.setattr("opentelemetry.propagate.extract", broken)
    with Processing(Message("rabbitmq", "orders", {})):
        done = True
    assert done


@pytest.mark.parametrize("traced", [True, False])
def test_a_message_does_not_continue_what_happens_to_run_where_it_arrives(seen: Captured, traced: bool) -> None:
    startup, message = wk.bound_context(tenant_id="acme", correlation_id="startup"), Message("rabbitmq", "orders", {})
    with startup, wk.span("startup"), Processing(message, traced=traced):
        wk.get_logger("x").info("handled")
    assert "tenant_id" not in seen.records[0].fields
    assert seen.records[0].correlation_id != "startup"
    if traced:
        assert not seen.span("process orders").parent_id


def test_nothing_of_one_message_is_left_for_the_next(seen: Captured) -> None:
    with Processing(Message("rabbitmq", "orders", {"x-correlation-id": "work-1"})):
        wk.bind_context(tenant_id="acme")
    with Processing(Message("rabbitmq", "orders", {})):
        wk.get_logger("x").info("handled")
    assert seen.records[0].correlation_id != "work-1"
    assert "tenant_id" not in seen.records[0].fields


@pytest.mark.parametrize(
    ("package", "instrumentor", "is_traced"),
    [
        ("celery", "CeleryInstrumentor", celery._is_traced),
        ("pika", "PikaInstrumentor", pika._is_traced),
        ("aio_pika", "AioPikaInstrumentor", aio_pika._is_traced),
        ("aiokafka", "AIOKafkaInstrumentor", aiokafka._is_traced),
        ("confluent_kafka", "ConfluentKafkaInstrumentor", confluent_kafka._is_traced),
        ("boto3sqs", "Boto3SQSInstrumentor", botocore._is_traced),
        ("botocore", "BotocoreInstrumentor", botocore._is_traced),
    ],
)
def test_opentelemetrys_own_instrumentation_is_recognised(
    monkeypatch: pytest.MonkeyPatch, package: str, instrumentor: str, is_traced: Callable[[], bool]
) -> None:
    """By the names that contrib's packages have; a class of the same base stands for each, none being installed."""
    kind = type(
        instrumentor,
        (BaseInstrumentor,),
        {
            "instrumentation_dependencies": lambda _self: (),
            "_instrument": lambda _self, **_named: None,
            "_uninstrument": lambda _self, **_named: None,
        },
    )
    module = types.ModuleType(f"opentelemetry.instrumentation.{package}")
    setattr(module, instrumentor, kind)
    assert is_traced()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert is_traced()
    kind().instrument()
    assert not is_traced()
    kind().uninstrument()
    assert is_traced()


def test_beside_somebody_elses_span_ours_only_counts(seen: Captured) -> None:
    before = seen.metric("queue_messages_total", queue="beside", action="process", status="ok") or 0.0
    with wk.span("theirs") as theirs:
        message = Message("rabbitmq", "beside", {"x-correlation-id": "work-1"})
        with Processing(message, traced=False):
            wk.get_logger("x").info("handled")
        Publishing("rabbitmq", "beside", traced=False).end()
        Receiving().got([message], traced=False)
    assert [span.name for span in seen.spans] == ["theirs"]
    assert (seen.records[0].span_id, seen.records[0].correlation_id) == (theirs.span_id, "work-1")
    assert seen.metric("queue_messages_total", queue="beside", action="process", status="ok") == before + 1


def test_what_keeps_a_librarys_own_calls_silent_does_not_hold_where_a_message_is_processed() -> None:
    token = attach(Context({CACHE: True, QUEUE: True, _SUPPRESS_HTTP_INSTRUMENTATION_KEY: True}))
    try:
        for traced in (True, False):
            with Processing(Message("rabbitmq", "orders", {}), traced=traced):
                assert not busy(CACHE)
                assert not busy(QUEUE)
                assert not get_current().get(_SUPPRESS_HTTP_INSTRUMENTATION_KEY)
    finally:
        detach(token)
