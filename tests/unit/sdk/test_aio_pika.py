"""aio-pika against a real RabbitMQ (127.0.0.1:5672)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aio_pika
import pytest
from opentelemetry.trace import SpanKind, StatusCode

import watchkeeper as wk
from watchkeeper.testing import Captured

URL = "amqp://guest:guest@127.0.0.1/"


@pytest.fixture
async def connection(seen: Captured) -> AsyncIterator[Any]:
    found = await aio_pika.connect_robust(URL, reconnect_interval=0.05)
    async with found:
        yield found


@pytest.fixture
async def channel(connection: Any) -> Any:
    return await connection.channel()


@pytest.fixture
async def queue(channel: Any) -> Any:
    return await channel.declare_queue(f"wk-aio-{uuid.uuid4().hex[:8]}", exclusive=True)


def count(seen: Captured, queue: Any, action: str, status: str = "ok") -> float:
    return seen.metric("queue_messages_total", queue=queue.name, action=action, status=status) or 0.0


async def publish(channel: Any, queue: Any, message: aio_pika.Message | None = None) -> None:
    await channel.default_exchange.publish(message or aio_pika.Message(b"1"), queue.name)


async def handle_one(queue: Any, handler: Callable[[Any], Awaitable[Any]]) -> None:
    """Lets a callback handle a message, and waits until it has ended."""
    ended = asyncio.Event()

    async def on_message(message: Any) -> None:
        asyncio.current_task().add_done_callback(lambda _: ended.set())  # type: ignore[union-attr]
        await handler(message)

    tag = await queue.consume(on_message)
    await asyncio.wait_for(ended.wait(), 5)
    await queue.cancel(tag)


async def test_processing_is_a_child_of_publishing_and_knows_the_correlation_id(
    seen: Captured, channel: Any, queue: Any
) -> None:
    async def handle(message: Any) -> None:
        wk.get_logger("x").info("handled")
        await message.ack()

    with wk.bound_context(correlation_id="work-1"), wk.span("order"):
        await publish(channel, queue, aio_pika.Message(b"1", message_id="m-1"))
    await handle_one(queue, handle)
    order, sent, processed = seen.span("order"), seen.span(f"send {queue.name}"), seen.span(f"process {queue.name}")
    assert (sent.kind, sent.parent_id) == (SpanKind.PRODUCER, order.span_id)
    assert (processed.kind, processed.parent_id) == (SpanKind.CONSUMER, sent.span_id)
    assert processed.attributes["messaging.destination.name"] == queue.name
    assert processed.attributes["messaging.message.id"] == "m-1"
    (record,) = [record for record in seen.records if record.message == "handled"]
    assert (record.span_id, record.correlation_id) == (processed.span_id, "work-1")
    assert count(seen, queue, "publish") == count(seen, queue, "process") == 1


async def test_a_message_can_be_published_twice_and_stays_as_it_was(seen: Captured, channel: Any, queue: Any) -> None:
    message = aio_pika.Message(b"1", headers={"tenant": "acme"}, expiration=60, priority=3, reply_to="r", type="t")
    for _ in range(2):
        await publish(channel, queue, message)
    assert message.headers == {"tenant": "acme"}
    arrived = [await queue.get(no_ack=True) for _ in range(2)]
    sent = [span for span in seen.spans if span.name == f"send {queue.name}"]
    assert [found.headers["traceparent"].split("-")[2] for found in arrived] == [f"{s.span_id:016x}" for s in sent]
    for found in arrived:
        assert (found.headers["tenant"], found.expiration, found.priority, found.reply_to, found.type) == (
            "acme", 60, 3, "r", "t",
        )  # fmt: skip


async def test_processing_by_a_block_belongs_to_the_message(seen: Captured, channel: Any, queue: Any) -> None:
    await publish(channel, queue)
    async with queue.iterator() as messages:
        async for message in messages:
            async with message.process():
                wk.get_logger("x").info("handled")
            break
    sent, received, processed = (seen.span(f"{what} {queue.name}") for what in ("send", "receive", "process"))
    assert [link.context.span_id for link in received.links] == [sent.span_id]
    assert processed.parent_id == sent.span_id
    (record,) = [record for record in seen.records if record.message == "handled"]
    assert record.span_id == processed.span_id
    assert count(seen, queue, "receive") == count(seen, queue, "process") == 1


async def test_a_block_in_a_callback_is_the_same_processing(seen: Captured, channel: Any, queue: Any) -> None:
    async def handle(message: Any) -> None:
        async with message.process():
            wk.get_logger("x").info("handled")

    await publish(channel, queue)
    await handle_one(queue, handle)
    assert seen.span(f"process {queue.name}")  # one
    assert count(seen, queue, "process") == 1


async def test_a_block_that_fails_is_told_and_its_message_rejected(seen: Captured, channel: Any, queue: Any) -> None:
    await publish(channel, queue)
    message = await queue.get()
    with pytest.raises(LookupError, match="no such order"):
        async with message.process(requeue=True):
            raise LookupError("no such order")
    (processed,) = [span for span in seen.spans if span.name == f"process {queue.name}"]
    assert (processed.status.status_code, processed.attributes["error.type"]) == (StatusCode.ERROR, "LookupError")
    assert count(seen, queue, "process", "error") == 1
    again = await queue.get()
    assert again.redelivered
    async with again.process():
        pass
    assert seen.metric("queue_retries_total", queue=queue.name) == 1


async def test_what_a_callback_raises_is_told(
    seen: Captured, channel: Any, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(message: Any) -> None:
        await message.ack()
        raise LookupError("no such order")

    await publish(channel, queue)
    await handle_one(queue, handle)
    assert seen.span(f"process {queue.name}").attributes["error.type"] == "LookupError"
    assert count(seen, queue, "process", "error") == 1


async def test_messages_at_a_time_keep_their_own_traces(seen: Captured, channel: Any, queue: Any) -> None:
    everyone = asyncio.Barrier(3)

    async def handle(message: Any) -> None:
        await everyone.wait()
        wk.get_logger("x").info("handled", body=message.body.decode())
        await message.ack()

    spans = {}
    for body in (b"1", b"2"):
        with wk.span("order") as order:
            await publish(channel, queue, aio_pika.Message(body))
            spans[body.decode()] = order.trace_id
    tag = await queue.consume(handle)
    await asyncio.wait_for(everyone.wait(), 5)
    await queue.cancel(tag)
    told = {r.fields["body"]: r.trace_id for r in seen.records if r.message == "handled"}
    assert told == spans


async def test_an_empty_queue_is_no_message(seen: Captured, queue: Any) -> None:
    assert await queue.get(fail=False) is None
    assert seen.spans == []


async def test_processing_starts_from_the_message_not_from_where_the_consumer_was_registered(
    seen: Captured, channel: Any, queue: Any
) -> None:
    async def handle(message: Any) -> None:
        wk.get_logger("x").info("handled")
        await message.ack()

    await publish(channel, queue)
    with wk.span("startup"), wk.bound_context(tenant_id="acme"):
        await handle_one(queue, handle)
    (record,) = [record for record in seen.records if record.message == "handled"]
    assert "tenant_id" not in record.fields
    assert seen.span(f"process {queue.name}").trace_id == seen.span(f"send {queue.name}").trace_id


async def test_a_reconnected_consumer_is_watched_once(
    seen: Captured, connection: Any, channel: Any, queue: Any
) -> None:
    handled = asyncio.Event()

    async def handle(message: Any) -> None:
        await message.ack()
        handled.set()

    await queue.consume(handle)
    await connection.reconnect()
    await channel.ready()
    await publish(channel, queue)
    await asyncio.wait_for(handled.wait(), 5)
    await asyncio.sleep(0)
    assert count(seen, queue, "process") == 1


async def test_uninstalling_gives_the_library_back(seen: Captured) -> None:
    functions = {
        aio_pika.exchange.Exchange: ["publish"],
        aio_pika.queue.Queue: ["consume", "get"],
        aio_pika.queue.QueueIterator: ["__anext__"],
        aio_pika.robust_queue.RobustQueueIterator: ["__anext__"],
        aio_pika.message.ProcessContext: ["__aenter__", "__aexit__"],
    }
    found = [vars(kind)[name] for kind, names in functions.items() for name in names]
    wk.shutdown()
    given_back = [vars(kind)[name] for kind, names in functions.items() for name in names]
    assert all(before is not after for before, after in zip(found, given_back, strict=True))
    assert {type(function).__name__ for function in given_back} == {"function"}
