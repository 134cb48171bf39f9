"""aio-pika: what is published, the callbacks that consume, and messages that are asked for one by one.

Of those, `async with message.process()` is the processing. In a callback it is a part of the callback's.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import wrapt

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations import rabbitmq
from watchkeeper.integrations.messaging import Message, Processing, Receiving, is_processing, text_headers, watched
from watchkeeper.integrations.patching import Patches, argument, instrumented_by_contrib, with_argument

_MOST_CONSUMERS = 1_000  # whose queue is remembered
_patches = Patches()
_queues: dict[str, str] = {}  # by consumer tag: a message does not say which queue it waited in
_handled: set[int] = set()  # ids of messages that a callback has: somebody else may change the context within it
_processing: WeakKeyDictionary[Any, Processing] = WeakKeyDictionary()  # by message.process()'s context


def install() -> None:
    """Wraps exchanges, queues and messages."""
    _patches.wrap_once_imported("aio_pika.exchange", "Exchange.publish", _publish)
    _patches.wrap_once_imported("aio_pika.queue", "Queue.consume", _consume)
    _patches.wrap_once_imported("aio_pika.queue", "Queue.get", _get)
    _patches.wrap_once_imported("aio_pika.queue", "QueueIterator.__anext__", _next)
    _patches.wrap_once_imported("aio_pika.robust_queue", "RobustQueueIterator.__anext__", _next)
    _patches.wrap_once_imported("aio_pika.message", "ProcessContext.__aenter__", _enter_process)
    _patches.wrap_once_imported("aio_pika.message", "ProcessContext.__aexit__", _leave_process)


def uninstall() -> None:
    """Gives them back. Consumers that were registered meanwhile go on unwatched."""
    _patches.undo()
    _queues.clear()


def message_of(queue: str, message: Any) -> Message:
    """A message as aio-pika hands it over; without its queue's name, it is looked up by the consumer's."""
    return rabbitmq.message_of(
        queue or _queues.get(message.consumer_tag or "", ""),
        message.headers,
        exchange=message.exchange or "",
        routing_key=message.routing_key or "",
        message_id=message.message_id,
        conversation_id=message.correlation_id,
        delivery_tag=message.delivery_tag,
        redelivered=message.redelivered,
        original=message,
    )


def processed(message: Any, queue: str) -> Message:
    """A message that the application works on."""
    return message_of(queue, message)


def _is_traced() -> bool:
    return not instrumented_by_contrib("aio_pika", "AioPikaInstrumentor")


async def _publish(wrapped: Callable[..., Any], exchange: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not watched():
        return await wrapped(*args, **kwargs)
    try:
        message = argument(args, kwargs, 0, "message")
        sending = rabbitmq.publishing(
            exchange.name or "",
            argument(args, kwargs, 1, "routing_key") or "",
            message.message_id,
            message.correlation_id,
            traced=_is_traced(),
        )
        added = sending.headers(text_headers(message.headers.items()))
        if added:
            carrying = copy.copy(message)  # the application's own may be published again, elsewhere
            carrying.headers = {**message.headers, **added}
            args, kwargs = with_argument(args, kwargs, 0, "message", carrying)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("aio_pika", failure)
        return await wrapped(*args, **kwargs)
    with sending:
        return await wrapped(*args, **kwargs)


async def _consume(wrapped: Callable[..., Any], queue: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    callback = argument(args, kwargs, 0, "callback")
    owner = getattr(callback, "__self__", None)
    iterator = sys.modules["aio_pika.abc"].AbstractQueueIterator
    if callable(callback) and not isinstance(owner, iterator):  # which only collects what is asked for later
        args, kwargs = with_argument(args, kwargs, 0, "callback", _watched_callback(callback, str(queue.name)))
    tag = await wrapped(*args, **kwargs)
    if len(_queues) >= _MOST_CONSUMERS:
        _queues.pop(next(iter(_queues)), None)
    _queues[tag] = str(queue.name)
    return tag


def _watched_callback(callback: Callable[..., Any], queue: str) -> Any:
    if not inspect.iscoroutinefunction(callback):
        callback = sys.modules["aio_pika.tools"].ensure_awaitable(callback)  # as the library is about to do

    async def handle(handler: Callable[..., Any], _instance: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        try:
            processing = Processing(message_of(queue, given[0]), traced=_is_traced())
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("aio_pika", failure)
            return await handler(*given, **named)
        _handled.add(id(given[0]))
        try:
            with processing:
                return await handler(*given, **named)
        finally:
            _handled.discard(id(given[0]))

    return wrapt.FunctionWrapper(callback, handle, lambda: bool(_patches))


async def _get(wrapped: Callable[..., Any], queue: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    receiving = Receiving()
    message = await wrapped(*args, **kwargs)
    _received(receiving, queue, message)
    return message


async def _next(wrapped: Callable[..., Any], iterator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    receiving = Receiving()
    message = await wrapped(*args, **kwargs)
    _received(receiving, iterator._amqp_queue, message)  # noqa: SLF001  # it has no other name
    return message


def _received(receiving: Receiving, queue: Any, message: Any) -> None:
    try:
        if message is not None and watched():
            receiving.got([message_of(str(queue.name), message)], traced=_is_traced())
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("aio_pika", failure)


async def _enter_process(
    wrapped: Callable[..., Any], context: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    entered = await wrapped(*args, **kwargs)
    try:
        if not is_processing(context.message):
            message = message_of("", context.message)
            processing = Processing(message, ambient=True, traced=_is_traced())
            processing.counted = id(context.message) in _handled
            _processing[context] = processing.__enter__()
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("aio_pika", failure)
    return entered


async def _leave_process(
    wrapped: Callable[..., Any], context: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    processing = _processing.pop(context, None)
    if processing is None:
        return await wrapped(*args, **kwargs)
    error = argument(args, kwargs, 1, "exc_val")
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as failure:
        processing.end(error or failure)
        raise
    processing.end(error)
    return result
