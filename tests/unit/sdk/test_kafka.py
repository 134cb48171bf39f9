"""confluent-kafka and aiokafka against librdkafka's own mock cluster.

It is a broker within this process that speaks Kafka's protocol over TCP: machines that run the tests have no other.
"""

from __future__ import annotations

import asyncio
import gc
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiokafka
import confluent_kafka
import pytest
from opentelemetry.trace import SpanKind, StatusCode

import watchkeeper as wk
from watchkeeper.integrations import aiokafka as aiokafka_integration
from watchkeeper.testing import Captured


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    producer = confluent_kafka.Producer({"bootstrap.servers": "nowhere:1", "test.mock.num.brokers": 1, "log_level": 0})
    brokers = producer.list_topics(timeout=5).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    producer.flush(1)


@pytest.fixture
def topic() -> str:
    return f"wk-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def producer(seen: Captured, servers: str) -> Any:
    return confluent_kafka.Producer({"bootstrap.servers": servers, "linger.ms": 0})


def consumer_of(servers: str, topic: str) -> confluent_kafka.Consumer:
    settings = {"bootstrap.servers": servers, "group.id": "shop", "enable.auto.commit": False}
    found = confluent_kafka.Consumer(settings)
    found.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in range(4)])
    return found


@pytest.fixture
def consumer(seen: Captured, servers: str, topic: str) -> Iterator[Any]:
    found = consumer_of(servers, topic)
    yield found
    found.close()


def poll(consumer: Any) -> Any:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            return message
    raise AssertionError("no message came")


def count(seen: Captured, topic: str, action: str, status: str = "ok") -> float:
    return seen.metric("queue_messages_total", queue=topic, action=action, status=status) or 0.0


def test_what_is_delivered_ends_with_the_brokers_word(seen: Captured, producer: Any, topic: str) -> None:
    told: list[Any] = []
    with wk.span("order") as order:
        producer.produce(topic, b"1", on_delivery=lambda *given: told.append(given))
    assert [span.name for span in seen.spans] == ["order"]
    producer.flush(5)
    sent = seen.span(f"send {topic}")
    assert (sent.kind, sent.parent_id) == (SpanKind.PRODUCER, order.span_id)
    ((error, message),) = told
    assert error is None
    assert sent.attributes == {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.partition.id": str(message.partition()),
        "messaging.kafka.offset": 0,
    }
    assert count(seen, topic, "publish") == 1


def test_what_is_not_delivered_has_failed(seen: Captured, topic: str) -> None:
    told: list[Any] = []
    settings = {"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 50, "log_level": 0}
    producer = confluent_kafka.Producer(settings)
    producer.produce(topic, b"1", callback=lambda *given: told.append(given))
    producer.flush(5)
    sent = seen.span(f"send {topic}")
    assert (sent.status.status_code, sent.attributes["error.type"]) == (StatusCode.ERROR, told[0][0].name())
    assert (count(seen, topic, "publish", "error"), count(seen, topic, "publish")) == (1, 0)


def test_the_callback_of_the_configuration_is_called_too(seen: Captured, servers: str, topic: str) -> None:
    told: list[Any] = []
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": servers, "on_delivery": lambda *given: told.append(given)}
    )
    producer.produce(topic, value=b"1")
    producer.flush(5)
    assert len(told) == 1
    assert "messaging.kafka.offset" in seen.span(f"send {topic}").attributes


def test_without_a_callback_it_ends_at_once(seen: Captured, producer: Any, topic: str) -> None:
    producer.produce(topic, b"1")
    assert seen.span(f"send {topic}")
    assert count(seen, topic, "publish") == 1
    producer.flush(5)
    assert count(seen, topic, "publish") == 1


def test_what_is_refused_at_once_is_raised_and_told(seen: Captured, servers: str, topic: str) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": servers, "message.max.bytes": 1_000})
    with pytest.raises(confluent_kafka.KafkaException):
        producer.produce(topic, b"1" * 2_000, on_delivery=lambda *_: None)
    assert count(seen, topic, "publish", "error") == 1


def test_a_record_is_received_with_a_link_and_processed_as_a_child(
    seen: Captured, producer: Any, consumer: Any, topic: str
) -> None:
    with wk.bound_context(correlation_id="work-1"):
        producer.produce(topic, b"1", headers={"tenant": b"acme"})
    producer.flush(5)
    message = poll(consumer)
    with wk.processing(message):
        wk.get_logger("x").info("handled")
    sent, received, processed = (seen.span(f"{what} {topic}") for what in ("send", "receive", "process"))
    assert dict(message.headers()) == {
        "tenant": b"acme",
        "traceparent": f"00-{sent.trace_id:032x}-{sent.span_id:016x}-01".encode(),
        "x-correlation-id": b"work-1",
    }
    assert (received.kind, [link.context.span_id for link in received.links]) == (SpanKind.CLIENT, [sent.span_id])
    assert received.attributes["messaging.consumer.group.name"] == "shop"
    assert (processed.kind, processed.parent_id) == (SpanKind.CONSUMER, sent.span_id)
    (record,) = [record for record in seen.records if record.message == "handled"]
    assert (record.span_id, record.correlation_id) == (processed.span_id, "work-1")
    assert count(seen, topic, "receive") == count(seen, topic, "process") == 1


def test_a_batch_is_one_receive_with_a_link_to_each(seen: Captured, producer: Any, consumer: Any, topic: str) -> None:
    for _ in range(3):
        producer.produce(topic, b"1", partition=0, headers=[("a", b"b"), ("a", b"c")])
    producer.flush(5)
    messages: list[Any] = []
    while len(messages) < 3:
        messages += consumer.consume(3 - len(messages), 1.0)
    assert [pair for pair in messages[0].headers() if pair[0] == "a"] == [("a", b"b"), ("a", b"c")]
    sent = {span.span_id for span in seen.spans if span.name == f"send {topic}"}
    received = [span for span in seen.spans if span.name == f"receive {topic}"]
    assert {link.context.span_id for span in received for link in span.links} == sent
    assert count(seen, topic, "receive") == 3


def test_an_empty_poll_is_no_message(seen: Captured, consumer: Any) -> None:
    assert consumer.poll(0) is None
    assert consumer.consume(1, 0) == []
    assert seen.spans == []


def test_a_batch_that_is_produced_counts_each_message(seen: Captured, producer: Any, topic: str) -> None:
    assert producer.produce_batch(topic, [{"value": b"1"}, {"value": b"2"}]) == 2
    producer.flush(5)
    assert seen.span(f"send {topic}").attributes["messaging.batch.message_count"] == 2
    assert count(seen, topic, "publish") == 2


def test_serializing_classes_are_watched_too(seen: Captured, servers: str, topic: str) -> None:
    producer = confluent_kafka.SerializingProducer(
        {"bootstrap.servers": servers, "value.serializer": lambda value, _context: str(value).encode()}
    )
    told: list[Any] = []
    producer.produce(topic, value=7, on_delivery=lambda *given: told.append(given))
    producer.flush(5)
    consumer = confluent_kafka.DeserializingConsumer(
        {
            "bootstrap.servers": servers,
            "group.id": "shop",
            "value.deserializer": lambda value, _context: int(value),
        }
    )
    partition = told[0][1].partition()
    consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0)])
    assert poll(consumer).value() == 7
    consumer.close()
    sent, received = seen.span(f"send {topic}"), seen.span(f"receive {topic}")
    assert [link.context.span_id for link in received.links] == [sent.span_id]


def test_uninstalling_gives_the_classes_back(seen: Captured, producer: Any, topic: str) -> None:
    watched = (confluent_kafka.Producer, confluent_kafka.Consumer)
    wk.shutdown()
    given_back = (confluent_kafka.Producer, confluent_kafka.Consumer)
    assert given_back == (confluent_kafka.cimpl.Producer, confluent_kafka.cimpl.Consumer)
    assert all(issubclass(before, after) for before, after in zip(watched, given_back, strict=True))
    for function in (confluent_kafka.SerializingProducer.produce, confluent_kafka.DeserializingConsumer.poll):
        assert type(function).__name__ == "function"
    producer.produce(topic, b"1")  # one that was made before
    assert producer.flush(5) == 0
    assert seen.spans == []


# aiokafka


@pytest.fixture
async def sender(seen: Captured, servers: str) -> AsyncIterator[Any]:
    found = aiokafka.AIOKafkaProducer(bootstrap_servers=servers)
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def receiver(seen: Captured, servers: str) -> AsyncIterator[Any]:
    found = aiokafka.AIOKafkaConsumer(bootstrap_servers=servers, group_id=None, auto_offset_reset="earliest")
    await found.start()
    yield found
    await found.stop()


async def test_what_is_sent_ends_with_the_brokers_word_and_is_received_with_a_link(
    seen: Captured, sender: Any, receiver: Any, topic: str
) -> None:
    with wk.bound_context(correlation_id="work-1"), wk.span("order") as order:
        stored = await sender.send_and_wait(topic, b"1", headers=[("tenant", b"acme")])
    receiver.assign([aiokafka.TopicPartition(topic, stored.partition)])
    await receiver.seek_to_beginning()
    record = await asyncio.wait_for(receiver.getone(), 10)
    with wk.processing(record):
        wk.get_logger("x").info("handled")
    sent, received, processed = (seen.span(f"{what} {topic}") for what in ("send", "receive", "process"))
    assert (sent.kind, sent.parent_id) == (SpanKind.PRODUCER, order.span_id)
    assert sent.attributes["messaging.kafka.offset"] == stored.offset == 0
    assert dict(record.headers) == {
        "tenant": b"acme",
        "traceparent": f"00-{sent.trace_id:032x}-{sent.span_id:016x}-01".encode(),
        "x-correlation-id": b"work-1",
    }
    assert [link.context.span_id for link in received.links] == [sent.span_id]
    assert processed.parent_id == sent.span_id
    (told,) = [found for found in seen.records if found.message == "handled"]
    assert (told.span_id, told.correlation_id) == (processed.span_id, "work-1")
    assert count(seen, topic, "publish") == count(seen, topic, "receive") == count(seen, topic, "process") == 1


async def test_records_that_come_together_are_one_receive(
    seen: Captured, sender: Any, receiver: Any, topic: str
) -> None:
    await asyncio.gather(*(sender.send_and_wait(topic, b"1", partition=0) for _ in range(2)))
    receiver.assign([aiokafka.TopicPartition(topic, 0)])
    await receiver.seek_to_beginning()
    records = await asyncio.wait_for(receiver.getmany(timeout_ms=5_000), 10)
    assert [len(found) for found in records.values()] == [2]
    assert len(seen.span(f"receive {topic}").links) == 2
    assert await receiver.getmany(timeout_ms=0) == {}
    assert count(seen, topic, "receive") == 2


async def test_what_cannot_be_sent_is_raised_and_told(seen: Captured, sender: Any, topic: str) -> None:
    with pytest.raises(aiokafka.errors.MessageSizeTooLargeError):
        await sender.send(topic, b"1" * 2_000_000)
    assert seen.span(f"send {topic}").attributes["error.type"].endswith("MessageSizeTooLargeError")
    assert count(seen, topic, "publish", "error") == 1


async def test_a_batch_that_was_built_counts_each_record(seen: Captured, sender: Any, topic: str) -> None:
    batch = sender.create_batch()
    for _ in range(2):
        batch.append(key=None, value=b"1", timestamp=None)
    await (await sender.send_batch(batch, topic, partition=0))
    assert count(seen, topic, "publish") == 2


async def test_a_failure_that_nobody_awaits_is_still_told_by_asyncio(seen: Captured) -> None:
    loop = asyncio.get_running_loop()
    told: list[str] = []
    sent = [loop.create_future()]

    async def send(*_args: Any, **_options: Any) -> Any:  # what a producer gives back
        return sent[0]

    await aiokafka_integration._send(send, None, ("orders", b"x"), {})
    loop.set_exception_handler(lambda _loop, context: told.append(context["message"]))
    sent.pop().set_exception(ConnectionError("the broker is gone"))
    for _ in range(3):
        await asyncio.sleep(0)
        gc.collect()
    loop.set_exception_handler(None)
    assert seen.span("send orders").attributes["error.type"] == "ConnectionError"
    assert told == ["Future exception was never retrieved"]


async def test_uninstalling_gives_aiokafka_back(seen: Captured) -> None:
    wk.shutdown()
    for kind, names in (
        (aiokafka.AIOKafkaProducer, ("send", "send_batch")),
        (aiokafka.AIOKafkaConsumer, ("getone", "getmany")),
    ):
        assert {type(vars(kind)[name]).__name__ for name in names} == {"function"}
