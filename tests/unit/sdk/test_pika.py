"""pika against a real RabbitMQ (127.0.0.1:5672)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from opentelemetry.trace import SpanKind, StatusCode

import watchkeeper as wk
from watchkeeper.testing import Captured

ERROR_TYPE = "error.type"


@pytest.fixture
def connection(seen: Captured) -> Iterator[pika.BlockingConnection]:
    found = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1"))
    yield found
    if found.is_open:
        found.close()


@pytest.fixture
def channel(connection: pika.BlockingConnection) -> Any:
    return connection.channel()


@pytest.fixture
def queue(channel: Any) -> str:
    name = f"wk-pika-{uuid.uuid4().hex[:8]}"
    channel.queue_declare(name, exclusive=True)
    return name


def count(seen: Captured, queue: str, action: str, status: str = "ok") -> float:
    return seen.metric("queue_messages_total", queue=queue, action=action, status=status) or 0.0


def handled(seen: Captured) -> list[Any]:
    return [record for record in seen.records if record.message == "handled"]


def handle_one(channel: Any, queue: str, handler: Any) -> None:
    def on_message(*given: Any) -> None:
        try:
            handler(*given)
        finally:
            channel.stop_consuming()

    channel.basic_consume(queue, on_message, auto_ack=True)
    channel.start_consuming()


def test_processing_is_a_child_of_publishing_and_knows_the_correlation_id(
    seen: Captured, channel: Any, queue: str
) -> None:
    with wk.bound_context(correlation_id="work-1"), wk.span("order"):
        channel.basic_publish("", queue, b"1", pika.BasicProperties(message_id="m-1"))
    handle_one(channel, queue, lambda *_: wk.get_logger("x").info("handled"))
    order, sent, processed = seen.span("order"), seen.span(f"send {queue}"), seen.span(f"process {queue}")
    assert (sent.kind, sent.parent_id) == (SpanKind.PRODUCER, order.span_id)
    assert (processed.kind, processed.trace_id, processed.parent_id) == (
        SpanKind.CONSUMER,
        order.trace_id,
        sent.span_id,
    )
    assert processed.attributes["correlation.id"] == "work-1"
    for span, operation in ((sent, "send"), (processed, "process")):
        assert {name: value for name, value in span.attributes.items() if name.startswith("messaging.")} == {
            "messaging.system": "rabbitmq",
            "messaging.destination.name": queue,
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
            "messaging.message.id": "m-1",
            "messaging.rabbitmq.destination.routing_key": queue,
        } | ({"messaging.rabbitmq.message.delivery_tag": 1} if operation == "process" else {})
    (record,) = handled(seen)
    assert (record.trace_id, record.span_id, record.correlation_id) == (
        order.trace_id,
        processed.span_id,
        "work-1",
    )
    assert count(seen, queue, "publish") == count(seen, queue, "process") == 1
    assert seen.metric("queue_processing_duration_seconds_count", queue=queue) == 1


def test_the_applications_own_headers_and_properties_stay(seen: Captured, channel: Any, queue: str) -> None:
    properties = pika.BasicProperties(headers={"tenant": "acme", "x-correlation-id": "mine"}, reply_to="r")
    arrived: list[Any] = []
    with wk.bound_context(correlation_id="theirs"):
        channel.basic_publish(exchange="", routing_key=queue, body=b"1", properties=properties)
    handle_one(channel, queue, lambda *given: arrived.append(given[2]))
    assert properties.headers == {"tenant": "acme", "x-correlation-id": "mine"}
    sent = seen.span(f"send {queue}")
    assert arrived[0].headers == {
        "tenant": "acme",
        "x-correlation-id": "mine",
        "traceparent": f"00-{sent.trace_id:032x}-{sent.span_id:016x}-01",
    }
    assert arrived[0].reply_to == "r"


def test_a_trace_context_that_the_application_wrote_is_followed(seen: Captured, channel: Any, queue: str) -> None:
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    channel.basic_publish("", queue, b"1", pika.BasicProperties(headers={"traceparent": parent}))
    handle_one(channel, queue, lambda *_: None)
    assert f"{seen.span(f'process {queue}').trace_id:032x}" == "a" * 32


def test_a_message_that_is_passed_on_with_its_headers_continues_from_here(
    seen: Captured, channel: Any, queue: str
) -> None:
    onward = queue + "-next"
    channel.queue_declare(onward, exclusive=True)
    channel.basic_publish("", queue, b"1")
    handle_one(channel, queue, lambda ch, _method, properties, body: ch.basic_publish("", onward, body, properties))
    handle_one(channel, onward, lambda *_: None)
    assert seen.span(f"send {onward}").parent_id == seen.span(f"process {queue}").span_id
    assert seen.span(f"process {onward}").parent_id == seen.span(f"send {onward}").span_id


def test_a_message_from_elsewhere_starts_a_trace_that_names_its_work(seen: Captured, channel: Any, queue: str) -> None:
    wk.shutdown()
    channel.basic_publish("", queue, b"1")
    with wk.testing.capture() as later:
        handle_one(channel, queue, lambda *_: wk.get_logger("x").info("handled"))
    processed = later.span(f"process {queue}")
    assert not processed.parent_id
    assert handled(later)[0].correlation_id == f"{processed.trace_id:032x}"


def test_what_a_handler_raises_is_raised_and_told(seen: Captured, channel: Any, queue: str) -> None:
    def fails(*_given: Any) -> None:
        raise LookupError("no such order")

    channel.basic_publish("", queue, b"1")
    with pytest.raises(LookupError, match="no such order"):
        handle_one(channel, queue, fails)
    processed = seen.span(f"process {queue}")
    assert (processed.status.status_code, processed.attributes[ERROR_TYPE]) == (StatusCode.ERROR, "LookupError")
    assert (count(seen, queue, "process", "error"), count(seen, queue, "process")) == (1, 0)


def test_a_message_that_the_broker_refuses_is_a_failed_one(seen: Captured, channel: Any) -> None:
    channel.confirm_delivery()
    nowhere = f"wk-nowhere-{uuid.uuid4().hex[:8]}"
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("", nowhere, b"1", mandatory=True)
    assert seen.span(f"send {nowhere}").attributes[ERROR_TYPE] == "pika.exceptions.UnroutableError"
    assert (count(seen, nowhere, "publish", "error"), count(seen, nowhere, "publish")) == (1, 0)


def test_a_redelivered_message_counts_as_tried_again(seen: Captured, channel: Any, queue: str) -> None:
    channel.basic_publish("", queue, b"1")
    method, *_ = channel.basic_get(queue)
    channel.basic_nack(method.delivery_tag, requeue=True)
    handle_one(channel, queue, lambda *_: None)
    assert seen.metric("queue_retries_total", queue=queue) == 1


def test_what_is_got_is_received_with_a_link_to_its_publishing(seen: Captured, channel: Any, queue: str) -> None:
    channel.basic_publish("", queue, b"1")
    _, _, body = channel.basic_get(queue, auto_ack=True)
    assert channel.basic_get(queue) == (None, None, None)
    assert body == b"1"
    received, sent = seen.span(f"receive {queue}"), seen.span(f"send {queue}")
    assert (received.kind, received.attributes["messaging.operation.type"]) == (SpanKind.CLIENT, "receive")
    assert [link.context.span_id for link in received.links] == [sent.span_id]
    assert count(seen, queue, "receive") == 1


def test_the_generator_that_consumes_is_one_still(seen: Captured, channel: Any, queue: str) -> None:
    for _ in range(2):
        channel.basic_publish("", queue, b"1")
    messages = channel.consume(queue, auto_ack=True, inactivity_timeout=0.05)
    assert [body for _, _, body in (next(messages), next(messages), next(messages))] == [b"1", b"1", None]
    messages.close()
    channel.cancel()
    assert count(seen, queue, "receive") == 2


def test_an_exchange_is_counted_as_one_whatever_the_keys(seen: Captured, channel: Any, queue: str) -> None:
    exchange = queue + "-x"
    channel.exchange_declare(exchange, "topic", auto_delete=True)
    channel.queue_bind(queue, exchange, "order.#")
    for number in (1, 2):
        channel.basic_publish(exchange, f"order.{number}", b"1")
    handle_one(channel, queue, lambda *_: None)
    assert count(seen, exchange, "publish") == 2
    assert [s.attributes["messaging.destination.name"] for s in seen.spans if s.name == f"send {exchange}"] == [
        f"{exchange}:order.1",
        f"{exchange}:order.2",
    ]
    destinations = {s.attributes["messaging.destination.name"] for s in seen.spans if s.name == f"process {queue}"}
    assert f"{exchange}:order.1:{queue}" in destinations


def test_queues_of_the_moment_share_a_label(seen: Captured, channel: Any) -> None:
    name = channel.queue_declare("", exclusive=True).method.queue
    assert name.startswith("amq.gen-")
    before = count(seen, "amq.gen-{id}", "publish")
    channel.basic_publish("", name, b"1")
    assert count(seen, "amq.gen-{id}", "publish") == before + 1


def test_an_asynchronous_connection_is_watched_too(seen: Captured) -> None:
    queue = f"wk-pika-{uuid.uuid4().hex[:8]}"

    def opened(channel: Any) -> None:
        channel.queue_declare(queue, exclusive=True, callback=lambda _: declared(channel))

    def declared(channel: Any) -> None:
        channel.basic_consume(queue, arrived, auto_ack=True)
        channel.basic_publish("", queue, b"1")

    def arrived(channel: Any, *_given: Any) -> None:
        wk.get_logger("x").info("handled")
        channel.connection.close()

    connection = pika.SelectConnection(
        pika.ConnectionParameters("127.0.0.1"),
        on_open_callback=lambda found: found.channel(on_open_callback=opened),
        on_close_callback=lambda found, _reason: found.ioloop.stop(),
    )
    connection.ioloop.start()
    connection.ioloop.close()
    assert seen.span(f"process {queue}").parent_id == seen.span(f"send {queue}").span_id
    assert handled(seen)[0].span_id == seen.span(f"process {queue}").span_id


def test_metrics_count_what_is_not_sampled() -> None:
    with wk.testing.capture(wk.Options(traces=wk.TraceOptions(sampler="always_off"))) as seen:
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1"))
        channel = connection.channel()
        queue = f"wk-pika-{uuid.uuid4().hex[:8]}"
        channel.queue_declare(queue, exclusive=True)
        channel.basic_publish("", queue, b"1")
        handle_one(channel, queue, lambda *_: None)
        connection.close()
    assert seen.spans == []
    assert count(seen, queue, "publish") == count(seen, queue, "process") == 1


def test_uninstalling_gives_the_library_back(seen: Captured) -> None:
    kinds = (pika.channel.Channel, pika.adapters.blocking_connection.BlockingChannel)
    names = ("basic_publish", "basic_consume", "basic_get", "consume")
    watched = [vars(kind).get(name) for kind in kinds for name in names]
    wk.shutdown()
    given_back = [vars(kind).get(name) for kind in kinds for name in names]
    assert sum(before is not after for before, after in zip(watched, given_back, strict=True)) == 6
    assert all(type(found).__name__ == "function" for found in given_back if found is not None)


def test_a_consumer_that_outlives_the_integration_still_handles(seen: Captured, channel: Any, queue: str) -> None:
    handled: list[bytes] = []
    channel.basic_consume(queue, lambda _c, _m, _p, body: handled.append(body) or channel.stop_consuming())
    wk.shutdown()
    channel.basic_publish("", queue, b"1")
    channel.start_consuming()
    assert handled == [b"1"]
    assert seen.spans == []
