"""`processing`: for applications that ask for messages themselves, since only they know how long they work on one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import INVALID_SPAN, Span

from watchkeeper.integrations.messaging import Message, Processing

# By the module of a message's class: who can read it.
_READERS = {
    "confluent_kafka": "confluent_kafka",
    "cimpl": "confluent_kafka",
    "aiokafka": "aiokafka",
    "aio_pika": "aio_pika",
    "pika": "pika",
    "boto3": "botocore",
    "builtins": "botocore",
}


@contextmanager
def processing(message: Any, queue: str = "") -> Iterator[Span]:
    """A block that works on a message which was received: polled, pulled or iterated over.

    Its span is a child of the one that published the message, log lines carry the message's correlation id, and it is
    counted, as failed if an exception leaves the block. `message` is confluent-kafka's, aiokafka's, aio-pika's or
    boto3's, a message of `receive_message` (a dict) or pika's properties. The last two do not know their `queue`: say
    its name, or its URL. Raises TypeError for anything else.

    Example:
        >>> import watchkeeper as wk
        >>> message = {"MessageId": "m-1", "Body": "order 7"}
        >>> with wk.processing(message, "orders") as span:
        ...     span.set_attribute("order_id", 7)
    """
    with Processing(_read(message, queue), ambient=True) as work:
        yield work.span or INVALID_SPAN


def _read(message: Any, queue: str) -> Message:
    reader = _READERS.get(type(message).__module__.partition(".")[0])
    if reader is None:
        raise TypeError(
            f"a message of {type(message).__module__}.{type(message).__qualname__} cannot be processed here"
        )
    found: Message = importlib.import_module(f"watchkeeper.integrations.{reader}").processed(message, queue)
    return found
