"""confluent-kafka: what is produced, until the broker has it, and what consumers receive.

Its classes are C's, whose methods cannot be replaced: the package's names `Producer` and `Consumer` become subclasses,
which is what the application gets if it asks for them after `configure`. What is produced with a delivery callback
ends when that is called; without one nobody may ever ask the library for its end, so it ends at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations import kafka_records
from watchkeeper.integrations.messaging import Message, Publishing, Receiving, label_of, watched
from watchkeeper.integrations.patching import Patches, argument, instrumented_by_contrib, with_argument
from watchkeeper.metrics.sets import queues

_patches = Patches()

Arguments = dict[str, Any]


def install() -> None:
    """Puts subclasses in the place of the C classes, and wraps the Python ones that are made of those."""
    package = sys.modules["confluent_kafka"]
    for name, subclass in (("Producer", _producer_class), ("Consumer", _consumer_class)):
        _replace(package, name, subclass(getattr(package, name)))
    _patches.wrap_once_imported("confluent_kafka.serializing_producer", "SerializingProducer.produce", _serialize)
    for method in (_poll, _consume):
        path = f"DeserializingConsumer.{method.__name__[1:]}"
        _patches.wrap_once_imported("confluent_kafka.deserializing_consumer", path, method)


def uninstall() -> None:
    """Gives the classes back. Producers and consumers that were made meanwhile go on unwatched."""
    _patches.undo()


def message_of(message: Any, group: str | None = None) -> Message:
    """A message as confluent-kafka hands it over."""
    return kafka_records.message_of(
        message.topic() or "",
        message.partition(),
        message.offset(),
        message.headers(),
        group=group,
        tombstone=message.value() is None,
        original=message,
    )


def _replace(package: Any, name: str, subclass: type) -> None:
    original = getattr(package, name)
    setattr(package, name, subclass)

    def undo() -> None:
        if getattr(package, name) is subclass:
            setattr(package, name, original)

    _patches.on_undo(undo)


def _producer_class(original: Any) -> Any:
    class Producer(original):  # type: ignore[misc]
        """The library's, watched."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._watchkeeper_callback = _configured(args, kwargs, "on_delivery")
            super().__init__(*args, **kwargs)

        def produce(self, *args: Any, **kwargs: Any) -> Any:
            return _produce(super().produce, self, args, kwargs)

        def produce_batch(self, *args: Any, **kwargs: Any) -> Any:
            return _produce_batch(super().produce_batch, self, args, kwargs)

    return _named_like(Producer, original)


def _consumer_class(original: Any) -> Any:
    class Consumer(original):  # type: ignore[misc]
        """The library's, watched."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._watchkeeper_group = _configured(args, kwargs, "group.id") or kwargs.get("group_id")
            super().__init__(*args, **kwargs)

        def poll(self, *args: Any, **kwargs: Any) -> Any:
            return _poll(super().poll, self, args, kwargs)

        def consume(self, *args: Any, **kwargs: Any) -> Any:
            return _consume(super().consume, self, args, kwargs)

    return _named_like(Consumer, original)


def _named_like(subclass: Any, original: Any) -> Any:
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(subclass, name, getattr(original, name))
    for name in ("produce", "produce_batch", "poll", "consume"):
        if name in vars(subclass):
            vars(subclass)[name].__doc__ = getattr(original, name).__doc__
    return subclass


def _configured(args: tuple[Any, ...], kwargs: Arguments, name: str) -> Any:
    settings = args[0] if args and isinstance(args[0], Mapping) else {}
    return kwargs.get(name, settings.get(name))


def processed(message: Any, _queue: str) -> Message:
    """A message that the application works on."""
    return message_of(message)


def _is_traced() -> bool:
    return not instrumented_by_contrib("confluent_kafka", "ConfluentKafkaInstrumentor")


# Producers


def _produce(wrapped: Callable[..., Any], producer: Any, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    return _produced(wrapped, producer, args, kwargs, value=1, callbacks={"callback": 4, "on_delivery": 5}, headers=7)


def _serialize(wrapped: Callable[..., Any], producer: Any, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    return _produced(wrapped, producer, args, kwargs, value=2, callbacks={"on_delivery": 4}, headers=6)


def _produced(  # positions differ from class to class
    wrapped: Callable[..., Any],
    producer: Any,
    args: tuple[Any, ...],
    kwargs: Arguments,
    *,
    value: int,
    callbacks: Mapping[str, int],
    headers: int,
) -> Any:
    if not _patches or not watched():
        return wrapped(*args, **kwargs)
    try:
        topic = str(argument(args, kwargs, 0, "topic"))
        tombstone = argument(args, kwargs, value, "value") is None
        sending = kafka_records.publishing(topic, tombstone=tombstone, traced=_is_traced())
        carrying = kafka_records.with_headers(sending, argument(args, kwargs, headers, "headers"))
        if carrying:
            args, kwargs = with_argument(args, kwargs, headers, "headers", carrying)
        args, kwargs, awaited = _with_callback(producer, sending, args, kwargs, callbacks)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("confluent_kafka", failure)
        return wrapped(*args, **kwargs)
    return _enqueued(wrapped, sending, args, kwargs, awaited=awaited)


def _produce_batch(wrapped: Callable[..., Any], _producer: Any, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    """The library takes no headers here. The batch ends at once; what was not taken of it has failed."""
    if not _patches or not watched():
        return wrapped(*args, **kwargs)
    try:
        topic, messages = str(argument(args, kwargs, 0, "topic")), argument(args, kwargs, 1, "messages")
        sending = kafka_records.publishing(topic, count=len(messages), traced=_is_traced())
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("confluent_kafka", failure)
        return wrapped(*args, **kwargs)
    try:
        taken = wrapped(*args, **kwargs)
    except BaseException as error:
        sending.end(error)
        raise
    sending.end(failed=len(messages) - taken)
    return taken


def _with_callback(
    producer: Any, sending: Publishing, args: tuple[Any, ...], kwargs: Arguments, callbacks: Mapping[str, int]
) -> tuple[tuple[Any, ...], Arguments, bool]:
    """The arguments with our callback around the application's, where there is one."""
    for name, position in callbacks.items():
        callback = argument(args, kwargs, position, name)
        if callback is not None:
            break
    else:
        name, position = list(callbacks.items())[-1]
        callback = getattr(producer, "_watchkeeper_callback", None)
    if not callable(callback):
        return args, kwargs, False

    def delivered(error: Any, message: Any) -> Any:
        try:
            if error is None:
                kafka_records.stored(sending.span, message.partition(), message.offset())
            sending.end(error_type=error.name() if error is not None else "")
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("confluent_kafka", failure)
        return callback(error, message)

    return *with_argument(args, kwargs, position, name, delivered), True


def _enqueued(
    wrapped: Callable[..., Any], sending: Publishing, args: tuple[Any, ...], kwargs: Arguments, *, awaited: bool
) -> Any:
    try:
        with sending.inside():
            result = wrapped(*args, **kwargs)
    except BaseException as error:
        sending.end(error)
        raise
    if not awaited:
        sending.end()
    return result


# Consumers


def _poll(wrapped: Callable[..., Any], consumer: Any, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    receiving = Receiving()
    message = wrapped(*args, **kwargs)
    if message is not None:
        _received(receiving, consumer, [message])
    return message


def _consume(wrapped: Callable[..., Any], consumer: Any, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    receiving = Receiving()
    messages = wrapped(*args, **kwargs)
    _received(receiving, consumer, messages)
    return messages


def _received(receiving: Receiving, consumer: Any, messages: Any) -> None:
    if not _patches or not messages or not watched():
        return
    try:
        group = getattr(consumer, "_watchkeeper_group", None)
        arrived = []
        for message in messages:
            error = message.error()
            if error is None:
                arrived.append(message_of(message, group))
            elif error.name() != "_PARTITION_EOF":  # which says that there is no further message
                queues().message(label_of(message.topic() or ""), "receive", "error")
        receiving.got(arrived, traced=_is_traced())
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("confluent_kafka", failure)
