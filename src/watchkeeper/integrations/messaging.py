"""What the integrations of message queues share: publishing, receiving and processing a message.

A published message carries the trace context (OpenTelemetry's global propagator writes it) and the correlation id in
its headers. Its processing is a child of the publishing span: of one message that is the trace a reader wants to see
whole. What is received in a batch belongs to many traces, so a receive span has links to them instead. Counts do not
depend on sampling, and a failure of ours ends here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

from opentelemetry import context as api_context
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY  # published under no other name
from opentelemetry.semconv._incubating.attributes.messaging_attributes import (
    MESSAGING_BATCH_MESSAGE_COUNT,
    MESSAGING_DESTINATION_NAME,
    MESSAGING_MESSAGE_ID,
    MESSAGING_OPERATION_NAME,
    MESSAGING_OPERATION_TYPE,
    MESSAGING_SYSTEM,
)
from opentelemetry.trace import Link, Span, SpanKind

from watchkeeper.context import (
    BOUND_KEY,
    CORRELATION_ID,
    REQUEST_KEY,
    SPAN_KEY,
    Context,
    Request,
    attach,
    detach,
    get_current,
    usable_id,
)
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.calls import CACHE, DATABASE, HTTP, QUEUE, Call, busy
from watchkeeper.integrations.part import requests
from watchkeeper.metrics.sets import queues
from watchkeeper.tracing.api import Origin
from watchkeeper.tracing.otel_propagate import propagate
from watchkeeper.values import text_of

CORRELATION_HEADER = "x-correlation-id"
MOST_LINKS = 128  # of a receive span; what OpenTelemetry's own limit is
_PROCESSING = api_context.create_key("watchkeeper-processing")  # the message that is being processed
_LONGEST_LABEL = 200  # characters
# What keeps calls silent, and may be said where a library gets its messages.
_WATCHED = frozenset({QUEUE, CACHE, DATABASE, HTTP, _SUPPRESS_HTTP_INSTRUMENTATION_KEY})
_IDS = re.compile(
    r"(?P<generated>(?:(?<=amq\.gen-)|(?<=amq\.rabbitmq\.reply-to\.)).+)"
    r"|(?P<uuid>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})"
    r"|(?<![0-9a-zA-Z])(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{16,}(?![0-9a-zA-Z])"
)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that has arrived, as far as it can be told without its body."""

    system: str  # as OpenTelemetry names it: rabbitmq, kafka, aws_sqs …
    queue: str  # where it waited: the queue, or Kafka's topic
    headers: Mapping[str, str]  # by `text_headers`
    message_id: str = ""
    destination: str = ""  # messaging.destination.name, if it is not the queue's name
    attributes: Mapping[str, Any] = field(default_factory=dict)  # further ones of its span
    correlation_id: str = ""  # of a message whose headers have none
    redelivered: bool = False  # somebody had it before, and did not acknowledge it
    original: object = None  # the library's own


@lru_cache(maxsize=4096)
def label_of(queue: str) -> str:
    """A queue's name as a label: what a library generated for a queue of the moment is `{id}` or `{uuid}`."""
    return _IDS.sub(lambda found: "{uuid}" if found["uuid"] else "{id}", queue)[:_LONGEST_LABEL] or "default"


def text_headers(headers: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """Headers by name in lower case, as far as they are text."""
    found = {}
    for name, value in headers:
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if isinstance(name, str) and isinstance(text, str):
            found[name.lower()] = text
    return found


def headers_to_add(present: Mapping[str, str], context: Context) -> dict[str, str]:
    """What carries a trace and a correlation id on from `context`, beside the headers that are `present`.

    What the application wrote itself stays. What it only passes on, of the message that it is just processing, was
    written by whoever published that one, and is replaced.
    """
    headers: dict[str, str] = {}
    propagate.inject(headers, context)
    correlation_id = _usable(_correlation_id_in(context))
    if correlation_id:
        headers[CORRELATION_HEADER] = correlation_id
    processed: Any = context.get(_PROCESSING)
    passed_on = processed.headers if processed is not None else {}
    own = {name for name, value in present.items() if name in headers and passed_on.get(name) != value}
    if own - {CORRELATION_HEADER, "baggage"}:  # a trace context of the application's: ours would only mix with it
        own |= headers.keys() - {CORRELATION_HEADER, "baggage"}
    return {name: value for name, value in headers.items() if name not in own}


def attributes_of(system: str, destination: str, operation: str) -> dict[str, Any]:
    """What each span of a message says."""
    return {
        MESSAGING_SYSTEM: system,
        MESSAGING_DESTINATION_NAME: destination,
        MESSAGING_OPERATION_NAME: operation,
        MESSAGING_OPERATION_TYPE: operation,
    }


class Publishing:
    """A message (or a batch) on its way to the broker: a `with` block, or `end` where the broker's word comes later."""

    __slots__ = ("_call", "_count", "_counted", "_label")

    def __init__(
        self,
        system: str,
        queue: str,
        *,
        destination: str = "",
        title: str = "",
        attributes: Mapping[str, Any] | None = None,
        count: int = 1,
        traced: bool = True,
    ) -> None:
        self._label = label_of(queue)
        self._count = count
        self._counted = False
        said = {**attributes_of(system, destination or queue, "send"), **(attributes or {})}
        if count != 1:
            said[MESSAGING_BATCH_MESSAGE_COUNT] = count
        self._call = Call(f"send {title or self._label}", QUEUE, said, SpanKind.PRODUCER, traced=traced)

    @property
    def span(self) -> Span:
        """The span."""
        return self._call.span

    def headers(self, present: Mapping[str, str]) -> dict[str, str]:
        """What is to be added to the message's headers."""
        return headers_to_add(present, self._call.context())

    def __enter__(self) -> Self:
        """What the library does now is part of it."""
        self._call.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Ends it."""
        self._call.__exit__(exc_type, exc_val, exc_tb)
        self.end(exc_val)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What the library does now is part of it, but not its end."""
        token = attach(self._call.context())
        try:
            yield
        finally:
            detach(token)

    def end(self, error: BaseException | None = None, *, error_type: str = "", failed: int = 0) -> None:
        """Ends it, once, and counts; of a batch, `failed` messages were refused. Never raises."""
        if self._counted:
            return
        self._counted = True
        if failed:
            error_type = error_type or ("partial_failure" if failed < self._count else "rejected")
        if error_type:
            self._call.fail(error_type)
        self._call.end(error)
        if error is not None or (error_type and not failed):
            failed = self._count
        if failed:
            queues().message(self._label, "publish", "error", count=failed)
        if self._count > failed:
            queues().message(self._label, "publish", "ok", count=self._count - failed)


class Receiving:
    """Asking a broker for messages. Made before the question; `got` says what came, and only then there is a span."""

    __slots__ = ("_started", "_wall_ns")

    def __init__(self) -> None:
        self._wall_ns = requests.settings.clock.wall_ns()
        self._started = requests.settings.clock.monotonic_ns()

    def got(self, messages: Sequence[Message], *, traced: bool = True) -> None:
        """Counts what came and makes one span a queue, with links to where the messages were published."""
        by_queue: dict[str, list[Message]] = {}
        for message in messages:
            by_queue.setdefault(message.queue, []).append(message)
        for queue, found in by_queue.items():
            label = label_of(queue)
            queues().message(label, "receive", "ok", count=len(found))
            for message in found:
                if message.redelivered:
                    queues().retried(label)
            if traced:
                self._span(label, found)

    def _span(self, label: str, found: Sequence[Message]) -> None:
        first = found[0]
        said = {**attributes_of(first.system, first.destination or first.queue, "receive")}
        if len(found) == 1:
            said |= {**first.attributes, **_id_of(first)}
        else:
            said[MESSAGING_BATCH_MESSAGE_COUNT] = len(found)
        links = [Link(origin) for origin in map(_origin_of, found[:MOST_LINKS]) if origin is not None]
        span = Origin.tracer.start_span(
            f"receive {label}", kind=SpanKind.CLIENT, attributes=said, links=links, start_time=self._wall_ns
        )
        span.end(self._wall_ns + requests.settings.clock.monotonic_ns() - self._started)


class Processing:
    """A message at work: a `with` block around whatever is done with it.

    Inside, the span is current, log lines carry the message's correlation id, and nothing that the library did to get
    the message keeps other calls silent. `ambient` says that the block belongs to the code around it, so that what is
    bound there holds here too; otherwise a message starts from nothing but its own headers.
    """

    __slots__ = ("_ambient", "_call", "_label", "_title", "_tokens", "_traced", "counted", "message", "outcome")

    def __init__(self, message: Message, *, title: str = "", ambient: bool = False, traced: bool = True) -> None:
        self.message = message
        self.outcome = ""  # the status to count, instead of ok or error; empty: the usual
        self.counted = False  # by somebody else
        self._label = label_of(message.queue)
        self._title = title or self._label
        self._ambient = ambient
        self._traced = traced
        self._tokens: list[Any] = []
        self._call: Call | None = None

    @property
    def span(self) -> Span | None:
        """The span, if it is ours."""
        return self._call.span if self._call is not None and self._traced else None

    def __enter__(self) -> Self:
        """Begins."""
        try:
            self._begin()
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("processing", failure)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Ends it, and counts."""
        self.end(exc_val)

    def fail(self, error: BaseException) -> None:
        """Says what went wrong, where no exception will leave the block."""
        if self._call is not None:
            self._call.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Ends it, once. Never raises."""
        call, self._call = self._call, None
        try:
            if call is not None:
                call.end(error)
                if not self.counted:
                    self._count(self.outcome or ("error" if call.error_type else "ok"), call.seconds)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("processing", failure)
        finally:
            while self._tokens:
                detach(self._tokens.pop())

    def _count(self, status: str, seconds: float) -> None:
        queues().message(self._label, "process", status, seconds)
        if self.message.redelivered and not self._ambient:  # else it was counted when it was received
            queues().retried(self._label)

    def _begin(self) -> None:
        message = self.message
        base = self._surroundings()
        correlation_id = _usable(message.headers.get(CORRELATION_HEADER)) or (
            "" if _correlation_id_in(base) else message.correlation_id
        )
        if correlation_id:
            base = _with_correlation_id(base, correlation_id)
        self._tokens.append(attach(base))
        said = {
            **attributes_of(message.system, message.destination or message.queue, "process"),
            **message.attributes,
            **_id_of(message),
        }
        title = f"process {self._title}"
        self._call = Call(title, _PROCESSING, said, SpanKind.CONSUMER, traced=self._traced, mark=message)
        inside = self._call.context()
        if not _correlation_id_in(inside):  # the work begins here: it is named like its trace
            trace_id = self._call.span.get_span_context().trace_id or requests.settings.ids.trace_id()
            inside = _with_correlation_id(inside, f"{trace_id:032x}")
        self._tokens.append(attach(inside))

    def _surroundings(self) -> Context:
        """The context that the block begins with."""
        if self._traced and not self._ambient:
            return propagate.extract(self.message.headers, Context())
        left_out = {QUEUE} if self._ambient else {*_WATCHED, _PROCESSING, BOUND_KEY, REQUEST_KEY}
        found = {key: value for key, value in get_current().items() if key not in left_out}
        # Where we make no span, somebody else's is current already.
        return Context({**found, **propagate.extract(self.message.headers, Context())} if self._traced else found)


def is_processing(original: object) -> bool:
    """Whether this is the inside of the processing of that message of the library's."""
    message: Any = get_current().get(_PROCESSING)
    return message is not None and message.original is original


def watched() -> bool:
    """Whether a call of a queue's library is to be watched: it is not one inside of another."""
    return not busy(QUEUE)


def _correlation_id_in(context: Context) -> str:
    bound: Any = context.get(BOUND_KEY)
    if bound and bound.get(CORRELATION_ID):
        return text_of(bound[CORRELATION_ID])
    request: Request | None = context.get(REQUEST_KEY)  # type: ignore[assignment]
    return request.correlation_id if request is not None else ""


def _usable(correlation_id: str | None) -> str:
    return correlation_id if correlation_id is not None and usable_id(correlation_id) else ""


def _with_correlation_id(context: Context, correlation_id: str) -> Context:
    bound: Any = context.get(BOUND_KEY)
    return Context({**context, BOUND_KEY: {**(bound or {}), CORRELATION_ID: correlation_id}})


def _id_of(message: Message) -> dict[str, Any]:
    return {MESSAGING_MESSAGE_ID: message.message_id} if message.message_id else {}


def _origin_of(message: Message) -> Any:
    span: Any = propagate.extract(message.headers, Context()).get(SPAN_KEY)
    return span.get_span_context() if span is not None else None
