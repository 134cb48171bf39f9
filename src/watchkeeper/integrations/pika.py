"""pika: what is published, and the callbacks and generators that consume, of blocking and of asynchronous connections.

A blocking channel speaks through an asynchronous one: the outer call is the one that counts.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Generator
from typing import Any

import wrapt

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations import rabbitmq
from watchkeeper.integrations.messaging import Message, Processing, Receiving, text_headers, watched
from watchkeeper.integrations.patching import Patches, argument, instrumented_by_contrib, with_argument

_CHANNEL, _BLOCKING = "pika.channel", "pika.adapters.blocking_connection"
_patches = Patches()


def install() -> None:
    """Wraps both kinds of channels."""
    for module, kind in ((_CHANNEL, "Channel"), (_BLOCKING, "BlockingChannel")):
        _patches.wrap_once_imported(module, f"{kind}.basic_publish", _publish)
        _patches.wrap_once_imported(module, f"{kind}.basic_consume", _consume)
    _patches.wrap_once_imported(_BLOCKING, "BlockingChannel.basic_get", _get)
    _patches.wrap_once_imported(_BLOCKING, "BlockingChannel.consume", _generate)


def uninstall() -> None:
    """Gives them back. Consumers that were registered meanwhile go on unwatched."""
    _patches.undo()


def message_of(queue: str, method: Any, properties: Any) -> Message:
    """A message as pika hands it over."""
    return rabbitmq.message_of(
        queue,
        properties.headers,
        exchange=getattr(method, "exchange", "") or "",
        routing_key=getattr(method, "routing_key", "") or "",
        message_id=properties.message_id,
        conversation_id=properties.correlation_id,
        delivery_tag=getattr(method, "delivery_tag", None),
        redelivered=getattr(method, "redelivered", None),
        original=properties,
    )


def processed(properties: Any, queue: str) -> Message:
    """A message that the application works on, as far as its properties tell."""
    return message_of(queue, None, properties)


def _is_traced() -> bool:
    return not instrumented_by_contrib("pika", "PikaInstrumentor")


def _publish(wrapped: Callable[..., Any], _channel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not watched():
        return wrapped(*args, **kwargs)
    try:
        exchange, routing_key = argument(args, kwargs, 0, "exchange"), argument(args, kwargs, 1, "routing_key")
        properties = argument(args, kwargs, 3, "properties")
        sending = rabbitmq.publishing(
            exchange or "",
            routing_key or "",
            getattr(properties, "message_id", None),
            getattr(properties, "correlation_id", None),
            traced=_is_traced(),
        )
        own = getattr(properties, "headers", None) or {}
        added = sending.headers(text_headers(own.items()))
        if added:
            args, kwargs = with_argument(args, kwargs, 3, "properties", _with_headers(properties, {**own, **added}))
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("pika", failure)
        return wrapped(*args, **kwargs)
    with sending:
        return wrapped(*args, **kwargs)


def _with_headers(properties: Any, headers: dict[str, Any]) -> Any:
    """The application's properties are its own: it may publish them again, elsewhere."""
    copied = sys.modules["pika.spec"].BasicProperties() if properties is None else copy.copy(properties)
    copied.headers = headers
    return copied


def _consume(wrapped: Callable[..., Any], _channel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    callback = argument(args, kwargs, 1, "on_message_callback")
    if not callable(callback) or type(getattr(callback, "__self__", None)).__module__ == _BLOCKING:
        return wrapped(*args, **kwargs)  # a blocking channel's own, which will call the application's
    queue = argument(args, kwargs, 0, "queue")

    def handle(handler: Callable[..., Any], _instance: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        try:
            _, method, properties, *_ = given
            processing = Processing(message_of(queue or "", method, properties), traced=_is_traced())
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("pika", failure)
            return handler(*given, **named)
        with processing:
            return handler(*given, **named)

    handler = wrapt.FunctionWrapper(callback, handle, lambda: bool(_patches))
    args, kwargs = with_argument(args, kwargs, 1, "on_message_callback", handler)
    return wrapped(*args, **kwargs)


def _get(wrapped: Callable[..., Any], _channel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    receiving = Receiving()
    found = wrapped(*args, **kwargs)
    _received(receiving, argument(args, kwargs, 0, "queue"), found)
    return found


def _generate(wrapped: Callable[..., Any], _channel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _received_one_by_one(wrapped(*args, **kwargs), argument(args, kwargs, 0, "queue"))


def _received_one_by_one(messages: Generator[Any, None, None], queue: Any) -> Generator[Any, None, None]:
    try:
        while True:
            receiving = Receiving()
            try:
                found = next(messages)
            except StopIteration:
                return
            _received(receiving, queue, found)
            yield found
    finally:
        messages.close()


def _received(receiving: Receiving, queue: Any, found: Any) -> None:
    try:
        method, properties, _ = found
        if method is not None and watched():  # else there was none
            receiving.got([message_of(queue or "", method, properties)], traced=_is_traced())
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("pika", failure)
