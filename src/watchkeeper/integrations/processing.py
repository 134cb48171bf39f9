"""`processing`: for applications that ask for messages themselves, since only they know how long they work on one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import INVALID_SPAN, Span

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.messaging import Message, Processing

# By the module of a message's class, or of one above it: who can read it.
_READERS = {
    "confluent_kafka": "confluent_kafka",
    "cimpl": "confluent_kafka",
    "aiokafka": "aiokafka",
    "aio_pika": "aio_pika",
    "pika": "pika",
    "boto3": "botocore",
}


@contextmanager
def processing(message: Any, queue: str = "") -> Iterator[Span]:
    """A block that works on a message which was received: polled, pulled or iterated over.

    Its span is a child of the one that published the message, log lines carry the message's correlation id, and it is
    counted, as failed if an exception leaves the block. `message` is confluent-kafka's, aiokafka's, aio-pika's or
    boto3's, a message of `receive_message` (a dict) or pika's properties. The last two do not know their `queue`: say
    its name, or its URL. Of None, which is what polling gives where nothing has arrived, there is nothing to tell: the
    block runs as it is. Raises TypeError for anything else.

    Example:
        >>> import watchkeeper as wk
        >>> message = {"MessageId": "m-1", "Body": "order 7"}
        >>> with wk.processing(message, "orders") as span:
        ...     span.set_attribute("order_id", 7)
    """
    if message is None:
        boundary.say_once("processing", "processing() was given None, where no message has arrived: it tells of none")
        yield INVALID_SPAN
        return
    with Processing(_read(message, queue), ambient=True) as work:
        yield work.span or INVALID_SPAN


def _read(message: Any, queue: str) -> Message:
    modules = [kind.__module__.partition(".")[0] for kind in type(message).__mro__[:-1]]  # but object's
    reader = next((_READERS[module] for module in modules if module in _READERS), None)
    if reader is None and isinstance(message, Mapping):
        reader = "botocore"
    if reader is None:
        raise TypeError(
            f"processing() takes a message of a queue's library, not {type(message).__module__}"
            f".{type(message).__qualname__}"
        )
    found: Message = importlib.import_module(f"watchkeeper.integrations.{reader}").processed(message, queue)
    return found
