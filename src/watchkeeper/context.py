"""What the running code belongs to: its span and its request, in OpenTelemetry's own context.

Sharing that context (rather than keeping another variable) is what makes every OpenTelemetry instrumentation and
propagator see our spans, and us theirs. One context carries both values, so entering a request sets one variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from opentelemetry.context import Context, attach, create_key, detach, get_current
from opentelemetry.trace import INVALID_SPAN, Span, set_span_in_context

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "REQUEST_KEY",
    "SPAN_KEY",
    "Context",
    "Request",
    "attach",
    "current_request",
    "detach",
    "get_current",
    "with_span",
]


class Request(Protocol):
    """What a log line and a span may know about the request they belong to."""

    request_id: str
    span: Span | None


def _key_of_current_span() -> str:
    # The API does not publish the key, only what is stored under it: read it from a context that holds nothing else.
    keys: Iterator[str] = iter(set_span_in_context(INVALID_SPAN, Context()))
    return next(keys)


SPAN_KEY = _key_of_current_span()
REQUEST_KEY = create_key("watchkeeper-request")


def current_request() -> Request | None:
    """The request being served, or None outside of one."""
    request: Request | None = get_current().get(REQUEST_KEY)  # type: ignore[assignment]
    return request


def with_span(span: Span, context: Context | None = None) -> Context:
    """A context like `context` (the current one by default) in which `span` is current."""
    inherited = get_current() if context is None else context
    return Context({**inherited, SPAN_KEY: span})
