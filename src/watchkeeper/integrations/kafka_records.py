"""What the clients of Kafka share: how a record's headers are read and written, and what its spans say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.semconv._incubating.attributes.messaging_attributes import (
    MESSAGING_CONSUMER_GROUP_NAME,
    MESSAGING_DESTINATION_PARTITION_ID,
    MESSAGING_KAFKA_MESSAGE_TOMBSTONE,
    MESSAGING_KAFKA_OFFSET,
    MessagingSystemValues,
)
from opentelemetry.trace import Span

from watchkeeper.integrations.messaging import Message, Publishing, text_headers

SYSTEM = MessagingSystemValues.KAFKA.value


def publishing(topic: str, *, tombstone: bool = False, count: int = 1, traced: bool) -> Publishing:
    """Records on their way to a topic."""
    said = {MESSAGING_KAFKA_MESSAGE_TOMBSTONE: True} if tombstone else {}
    return Publishing(SYSTEM, topic, attributes=said, count=count, traced=traced)


def stored(span: Span, partition: int | None, offset: int | None) -> None:
    """Says where the broker has put a record."""
    if partition is not None and partition >= 0:
        span.set_attribute(MESSAGING_DESTINATION_PARTITION_ID, str(partition))
    if offset is not None and offset >= 0:
        span.set_attribute(MESSAGING_KAFKA_OFFSET, offset)


def with_headers(sending: Publishing, headers: Any) -> Any:
    """The application's headers (a mapping, pairs or None) and those that carry the trace, in the same form."""
    own = headers if isinstance(headers, Mapping) else list(headers or ())  # pairs may be an iterator's
    added = {name: value.encode("latin-1") for name, value in sending.headers(text_headers(_pairs(own))).items()}
    return {**own, **added} if isinstance(own, Mapping) else [*own, *added.items()]


def _pairs(headers: Any) -> Iterable[tuple[Any, Any]]:
    return headers.items() if isinstance(headers, Mapping) else headers or ()


def message_of(
    topic: str,
    partition: int | None,
    offset: int | None,
    headers: Any,
    *,
    group: str | None = None,
    tombstone: bool = False,
    original: object = None,
) -> Message:
    """A record that arrived."""
    said: dict[str, Any] = {}
    if partition is not None:
        said[MESSAGING_DESTINATION_PARTITION_ID] = str(partition)
    if offset is not None:
        said[MESSAGING_KAFKA_OFFSET] = offset
    if group:
        said[MESSAGING_CONSUMER_GROUP_NAME] = group
    if tombstone:
        said[MESSAGING_KAFKA_MESSAGE_TOMBSTONE] = True
    return Message(SYSTEM, topic, text_headers(_pairs(headers)), attributes=said, original=original)
