"""Amazon SQS through boto3 or botocore: what is sent, received and deleted. Other services' calls pass unwatched.

A message has room for ten attributes, and its attributes count against its size: what carries a trace is left out
where it does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, set_value  # the first is published nowhere else
from opentelemetry.semconv._incubating.attributes.messaging_attributes import (
    MESSAGING_BATCH_MESSAGE_COUNT,
    MESSAGING_MESSAGE_ID,
    MESSAGING_OPERATION_TYPE,
    MessagingOperationTypeValues,
    MessagingSystemValues,
)

from watchkeeper.context import attach, detach
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.calls import QUEUE, Call
from watchkeeper.integrations.messaging import (
    CORRELATION_HEADER,
    Message,
    Publishing,
    Receiving,
    attributes_of,
    label_of,
    text_headers,
    watched,
)
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib
from watchkeeper.metrics.sets import queues
from watchkeeper.tracing.otel_propagate import propagate

SYSTEM = MessagingSystemValues.AWS_SQS.value
MOST_ATTRIBUTES = 10  # of a message
_SIZES = (262_144, 1_048_576)  # bytes a message or a batch may have: what queues' limits usually are
_SMALL = 32_768  # characters: so few that no limit is near, whatever they are encoded to and however many there are
_OVERHEAD = len("String")  # an attribute's type counts, too
_patches = Patches()

Parameters = Mapping[str, Any]


def install() -> None:
    """Wraps the one function that every client's operations come by."""
    _patches.wrap_once_imported("botocore.client", "BaseClient._make_api_call", _call)


def uninstall() -> None:
    """Gives it back."""
    _patches.undo()


def processed(message: Any, queue: str) -> Message:
    """A message of `receive_message`, or boto3's object."""
    if isinstance(message, Mapping):
        return message_of(queue, message)
    found = {
        "MessageId": message.message_id,
        "MessageAttributes": message.message_attributes,
        "Attributes": message.attributes,
    }
    return message_of(queue or message.queue_url, found, message)


def message_of(queue: str, message: Parameters, original: object = None) -> Message:
    """A message as SQS tells it."""
    times = (message.get("Attributes") or {}).get("ApproximateReceiveCount", "1")  # where it was asked for
    return Message(
        SYSTEM,
        _name_of(queue),
        _headers_of(message.get("MessageAttributes")),
        message.get("MessageId") or "",
        redelivered=times != "1",
        original=message if original is None else original,
    )


def _name_of(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2]


def _headers_of(attributes: Any) -> dict[str, str]:
    return text_headers((name, value.get("StringValue")) for name, value in (attributes or {}).items())


def _is_traced() -> bool:
    return not (
        instrumented_by_contrib("boto3sqs", "Boto3SQSInstrumentor")
        or instrumented_by_contrib("botocore", "BotocoreInstrumentor")
    )


def _call(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if client.meta.service_model.service_name != "sqs" or len(args) != 2 or not watched():  # noqa: PLR2004  # name and parameters
        return wrapped(*args, **kwargs)
    operation, parameters = args
    how = _OPERATIONS.get(operation)
    url = parameters.get("QueueUrl")
    if how is None or not isinstance(url, str):
        return wrapped(*args, **kwargs)

    def ask(changed: Parameters) -> Any:
        token = attach(set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True))  # the request below is this very call
        try:
            return wrapped(operation, changed)
        finally:
            detach(token)

    return how(ask, _name_of(url), parameters)


def _send(ask: Callable[[Parameters], Any], queue: str, parameters: Parameters) -> Any:
    try:
        sending = Publishing(SYSTEM, queue, traced=_is_traced())
        (parameters,) = _carrying(sending, [parameters])
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("botocore", failure)
        return ask(parameters)
    with sending:
        answer = ask(parameters)
        if answer.get("MessageId"):
            sending.span.set_attribute(MESSAGING_MESSAGE_ID, answer["MessageId"])
        return answer


def _send_batch(ask: Callable[[Parameters], Any], queue: str, parameters: Parameters) -> Any:
    try:
        entries = list(parameters["Entries"])
        sending = Publishing(SYSTEM, queue, count=len(entries), traced=_is_traced())
        parameters = {**parameters, "Entries": _carrying(sending, entries)}
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("botocore", failure)
        return ask(parameters)
    with sending.inside():
        try:
            answer = ask(parameters)
        except BaseException as error:
            sending.end(error)
            raise
    sending.end(failed=len(answer.get("Failed") or ()))
    return answer


def _receive(ask: Callable[[Parameters], Any], queue: str, parameters: Parameters) -> Any:
    receiving = Receiving()
    asked = list(parameters.get("MessageAttributeNames") or ())
    if not {"All", ".*"} & set(asked):  # what carries the trace comes only if it is asked for
        wanted = (*sorted(propagate.get_global_textmap().fields), CORRELATION_HEADER)
        asked += [name for name in wanted if name not in asked]
        parameters = {**parameters, "MessageAttributeNames": asked}
    try:
        answer = ask(parameters)
    except Exception:
        queues().message(label_of(queue), "receive", "error")
        raise
    try:
        found = answer.get("Messages") or ()
        receiving.got([message_of(queue, message) for message in found], traced=_is_traced())
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("botocore", failure)
    return answer


def _delete(ask: Callable[[Parameters], Any], queue: str, parameters: Parameters) -> Any:
    """What has been done with is taken off the queue: a span, and no count, since it was counted before."""
    said = attributes_of(SYSTEM, queue, "delete")
    said[MESSAGING_OPERATION_TYPE] = MessagingOperationTypeValues.SETTLE.value
    if "Entries" in parameters:
        said[MESSAGING_BATCH_MESSAGE_COUNT] = len(parameters["Entries"])
    with Call(f"delete {label_of(queue)}", QUEUE, said, traced=_is_traced()):
        return ask(parameters)


_OPERATIONS = {
    "SendMessage": _send,
    "SendMessageBatch": _send_batch,
    "ReceiveMessage": _receive,
    "DeleteMessage": _delete,
    "DeleteMessageBatch": _delete,
}


def _carrying(sending: Publishing, entries: Sequence[Parameters]) -> list[Parameters]:
    """The same messages with as much of what carries the trace as there is room for; they share the size of one."""
    added = [_room_for(sending, entry) for entry in entries]
    size = sum(len(name) + len(value) + _OVERHEAD for found in added for name, value in found.items())
    if not _fits(entries, size):
        return list(entries)
    return [
        {
            **entry,
            "MessageAttributes": {
                **(entry.get("MessageAttributes") or {}),
                **{name: {"DataType": "String", "StringValue": value} for name, value in found.items()},
            },
        }
        if found
        else entry
        for entry, found in zip(entries, added, strict=True)
    ]


def _room_for(sending: Publishing, entry: Parameters) -> dict[str, str]:
    attributes = entry.get("MessageAttributes") or {}
    headers = sending.headers(_headers_of(attributes))
    first = sorted(headers, key=lambda name: name in {"tracestate", "baggage"})  # these mean nothing without the others
    return {name: headers[name] for name in first[: max(0, MOST_ATTRIBUTES - len(attributes))]}


def _fits(entries: Sequence[Parameters], more: int) -> bool:
    texts = [str(entry.get("MessageBody", "")) for entry in entries]
    attributes = [(entry.get("MessageAttributes") or {}).items() for entry in entries]
    if sum(map(len, texts)) < _SMALL and sum(map(len, attributes)) == 0:
        return True
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    for name, value in (pair for found in attributes for pair in found):
        size += len(name) + len(value.get("DataType", "")) + len(value.get("BinaryValue", b""))
        size += len(value.get("StringValue", "").encode("utf-8", "replace"))
    return not any(size <= limit < size + more for limit in _SIZES)
