"""What the clients of RabbitMQ share: how its destinations are named, and what its messages say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.semconv._incubating.attributes.messaging_attributes import (
    MESSAGING_MESSAGE_CONVERSATION_ID,
    MESSAGING_MESSAGE_ID,
    MESSAGING_RABBITMQ_DESTINATION_ROUTING_KEY,
    MESSAGING_RABBITMQ_MESSAGE_DELIVERY_TAG,
    MessagingSystemValues,
)

from watchkeeper.integrations.messaging import Message, Publishing, text_headers

SYSTEM = MessagingSystemValues.RABBITMQ.value


def destination_of(exchange: str, routing_key: str, queue: str = "") -> str:
    """The destination as OpenTelemetry names it: `exchange:key:queue`, without what is empty or says the same twice."""
    parts = (exchange, routing_key, "" if queue == routing_key else queue)
    return ":".join(part for part in parts if part) or "amq.default"


def publishing(
    exchange: str, routing_key: str, message_id: str | None, conversation_id: str | None, *, traced: bool
) -> Publishing:
    """A message on its way. It is counted by its exchange, whose keys may be many; by its queue at the default one."""
    return Publishing(
        SYSTEM,
        exchange or routing_key,
        destination=destination_of(exchange, routing_key),
        attributes=_said(routing_key, conversation_id) | ({MESSAGING_MESSAGE_ID: message_id} if message_id else {}),
        traced=traced,
    )


def message_of(
    queue: str,
    headers: Mapping[str, Any] | None,
    *,
    exchange: str,
    routing_key: str,
    message_id: str | None,
    conversation_id: str | None,
    delivery_tag: int | None,
    redelivered: bool | None,
    original: object,
) -> Message:
    """A message that was delivered."""
    said = _said(routing_key, conversation_id)
    if delivery_tag is not None:
        said[MESSAGING_RABBITMQ_MESSAGE_DELIVERY_TAG] = delivery_tag
    return Message(
        SYSTEM,
        queue or exchange or routing_key,
        text_headers((headers or {}).items()),
        message_id or "",
        destination_of(exchange, routing_key, queue),
        said,
        redelivered=bool(redelivered),
        original=original,
    )


def _said(routing_key: str, conversation_id: str | None) -> dict[str, Any]:
    said: dict[str, Any] = {MESSAGING_RABBITMQ_DESTINATION_ROUTING_KEY: routing_key}
    if conversation_id:
        said[MESSAGING_MESSAGE_CONVERSATION_ID] = conversation_id
    return said
