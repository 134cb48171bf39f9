"""aiokafka: what is sent, until the broker has it, and what consumers receive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations import kafka_records
from watchkeeper.integrations.messaging import Message, Publishing, Receiving, watched
from watchkeeper.integrations.patching import Patches, argument, instrumented_by_contrib, with_argument

_patches = Patches()


def install() -> None:
    """Wraps producers and consumers."""
    _patches.wrap_once_imported("aiokafka.producer.producer", "AIOKafkaProducer.send", _send)
    _patches.wrap_once_imported("aiokafka.producer.producer", "AIOKafkaProducer.send_batch", _send_batch)
    _patches.wrap_once_imported("aiokafka.consumer.consumer", "AIOKafkaConsumer.getone", _get_one)
    _patches.wrap_once_imported("aiokafka.consumer.consumer", "AIOKafkaConsumer.getmany", _get_many)


def uninstall() -> None:
    """Gives them back."""
    _patches.undo()


def message_of(record: Any, group: str | None = None) -> Message:
    """A record as aiokafka hands it over."""
    return kafka_records.message_of(
        record.topic,
        record.partition,
        record.offset,
        record.headers,
        group=group,
        tombstone=record.value is None,
        original=record,
    )


def processed(message: Any, _queue: str) -> Message:
    """A message that the application works on."""
    return message_of(message)


def _is_traced() -> bool:
    return not instrumented_by_contrib("aiokafka", "AIOKafkaInstrumentor")


async def _send(wrapped: Callable[..., Any], _producer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not watched():
        return await wrapped(*args, **kwargs)
    try:
        topic, value = argument(args, kwargs, 0, "topic"), argument(args, kwargs, 1, "value")
        sending = kafka_records.publishing(str(topic), tombstone=value is None, traced=_is_traced())
        headers = kafka_records.with_headers(sending, argument(args, kwargs, 5, "headers"))
        if headers:
            args, kwargs = with_argument(args, kwargs, 5, "headers", headers)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("aiokafka", failure)
        return await wrapped(*args, **kwargs)
    return await _sent(wrapped, sending, args, kwargs)


async def _send_batch(
    wrapped: Callable[..., Any], _producer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Records of a batch have been made already: their headers stay as they are."""
    if not watched():
        return await wrapped(*args, **kwargs)
    try:
        batch, topic = argument(args, kwargs, 0, "batch"), argument(args, kwargs, 1, "topic")
        sending = kafka_records.publishing(str(topic), count=batch.record_count(), traced=_is_traced())
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("aiokafka", failure)
        return await wrapped(*args, **kwargs)
    return await _sent(wrapped, sending, args, kwargs)


async def _sent(wrapped: Callable[..., Any], sending: Publishing, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The future of what is sent, which ends the call, too."""
    try:
        future = await wrapped(*args, **kwargs)
    except BaseException as error:
        sending.end(error)
        raise
    future.add_done_callback(lambda done: _delivered(sending, done))
    return future


def _delivered(sending: Publishing, done: asyncio.Future[Any]) -> None:
    try:
        if done.cancelled():  # by whoever waits; the record is sent all the same
            sending.end()
            return
        # Not `exception()`: it notes that somebody has looked, and asyncio would not tell of a failure nobody awaits.
        error: Any = getattr(done, "_exception", None)
        if error is None and done.result() is not None:
            kafka_records.stored(sending.span, done.result().partition, done.result().offset)
        sending.end(error)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("aiokafka", failure)


async def _get_one(wrapped: Callable[..., Any], consumer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    receiving = Receiving()
    record = await wrapped(*args, **kwargs)
    _received(receiving, consumer, [record])
    return record


async def _get_many(wrapped: Callable[..., Any], consumer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    receiving = Receiving()
    records = await wrapped(*args, **kwargs)
    if records:
        _received(receiving, consumer, (record for found in records.values() for record in found))
    return records


def _received(receiving: Receiving, consumer: Any, records: Iterable[Any]) -> None:
    try:
        if watched():
            group = consumer._group_id  # noqa: SLF001  # it has no other name
            receiving.got([message_of(record, group) for record in records], traced=_is_traced())
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("aiokafka", failure)
