"""What the running code belongs to: its span, its request and what was bound to it, in OpenTelemetry's own context.

Sharing that context (rather than keeping another variable) is what makes every OpenTelemetry instrumentation and
propagator see our spans, and us theirs. One context carries all values, so entering a request sets one variable.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, Protocol

from opentelemetry import context as api
from opentelemetry.context import Context, create_key
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace import INVALID_SPAN, Span, set_span_in_context

from watchkeeper.values import text_of

__all__ = [
    "BOUND_KEY",
    "CORRELATION_ID",
    "REQUEST_KEY",
    "SPAN_KEY",
    "Context",
    "Request",
    "attach",
    "bind_context",
    "bound_context",
    "current_request",
    "detach",
    "get_current",
    "usable_id",
    "with_span",
]

CORRELATION_ID = "correlation_id"
_ID = re.compile("[\x21-\x7e]{1,128}")


class Request(Protocol):
    """What a log line and a span may know about the request they belong to."""

    request_id: str
    correlation_id: str
    bound: dict[str, Any] | None  # by `bind_context`
    breadcrumbs: deque[Any] | None  # what happened in it so far, should it fail
    span: Span | None


def _key_of_current_span() -> str:
    # The API does not publish the key, only what is stored under it: read it from a context that holds nothing else.
    keys: Iterator[str] = iter(set_span_in_context(INVALID_SPAN, Context()))
    return next(keys)


def _ways_to_the_context() -> tuple[
    Callable[[], Context], Callable[[Context], Token[Context]], Callable[[Token[Context]], None]
]:
    # The API's functions are two calls above its variable, and every line, span and count asks: a fourth of the price.
    runtime: object = getattr(api, "_RUNTIME_CONTEXT", None)
    variable: object = getattr(runtime, "_current_context", None)
    if type(runtime) is ContextVarsRuntimeContext and isinstance(variable, ContextVar):
        return variable.get, variable.set, variable.reset
    return api.get_current, api.attach, api.detach


get_current, attach, _reset = _ways_to_the_context()
SPAN_KEY = _key_of_current_span()
REQUEST_KEY = create_key("watchkeeper-request")
BOUND_KEY = create_key("watchkeeper-bound")


def detach(token: Token[Context]) -> None:
    """Gives back the context that `attach` replaced. Never raises: the API says what is wrong with a token."""
    try:
        _reset(token)
    except Exception:  # noqa: BLE001  # of another task's context, or used before
        api.detach(token)


def current_request() -> Request | None:
    """The request being served, or None outside of one."""
    request: Request | None = get_current().get(REQUEST_KEY)  # type: ignore[assignment]
    return request


def with_span(span: Span, context: Context | None = None) -> Context:
    """A context like `context` (the current one by default) in which `span` is current."""
    inherited = get_current() if context is None else context
    return Context({**inherited, SPAN_KEY: span})


def usable_id(header: str) -> str:
    """An id that a caller sent, if it is 1 to 128 visible ASCII characters; empty if it cannot be used."""
    return header if header and _ID.fullmatch(header) else ""


def bind_context(**fields: Any) -> None:
    """Adds fields to every log line from here on: of the request being served, wherever in it they are said.

    Outside of a request they hold in the current context, until the block of a span that is open ends.
    `correlation_id` replaces the one that came with the request.

    Example:
        >>> import watchkeeper as wk
        >>> wk.bind_context(user_id="u-7", tenant_id="acme")
    """
    request = current_request()
    if request is None:
        attach(_with_fields(fields))
        return
    correlation_id = fields.pop(CORRELATION_ID, None)
    if correlation_id is not None:
        request.correlation_id = text_of(correlation_id)
    request.bound = {**(request.bound or {}), **fields}  # replaced whole: other threads may be reading it


@contextmanager
def bound_context(**fields: Any) -> Iterator[None]:
    """Adds fields to the log lines of a block, and of the tasks that are started in it.

    Example:
        >>> import watchkeeper as wk
        >>> with wk.bound_context(tenant_id="acme", correlation_id="import-2026-11"):
        ...     wk.get_logger(__name__).info("imported", rows=12)
    """
    token = attach(_with_fields(fields))
    try:
        yield
    finally:
        detach(token)


def _with_fields(fields: Mapping[str, Any]) -> Context:
    current = get_current()
    bound: Any = current.get(BOUND_KEY)
    return Context({**current, BOUND_KEY: {**(bound or {}), **fields}})
