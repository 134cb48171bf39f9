"""The beginning of a request, whatever protocol it comes by: its parent, its span, its id and its context.

Where somebody else already traces the request (contrib's middleware around or inside, a framework itself with a
provider of the application's), no second span is made: metrics and request id remain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry import trace as api
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import SpanKind

from watchkeeper.context import REQUEST_KEY, SPAN_KEY, Context, Request, get_current, usable_id
from watchkeeper.integrations.exchange import KNOWN_METHODS, Exchange, Settings
from watchkeeper.tracing.otel_propagate import propagate
from watchkeeper.tracing.propagation import RemoteParent
from watchkeeper.tracing.span import Span
from watchkeeper.tracing.tracer import Tracer, unsampled

_BAGGAGE = W3CBaggagePropagator()
# The time in which OpenTelemetry looks for commas grows with the square of such a gap: a tenth of a second for 8 KB.
_GAPS = re.compile(r"[ \t]{16,}")
_MOST_LAYERS = 64  # an object that has any attribute would have these for ever


def open_request(settings: Settings, exchange: Exchange, traced_inside: bool) -> Context:
    """Gives the exchange its id and its span (if it is ours to make), and answers with the request's context."""
    outer = get_current()
    if traced_inside or (outer and already_traced(outer)):
        identify(settings, exchange, 0)
        return Context({**outer, REQUEST_KEY: exchange})
    if settings.standard_propagators:
        parent = exchange.remote_parent()
        if exchange.baggage is not None:
            outer = _BAGGAGE.extract({"baggage": _GAPS.sub(" ", exchange.baggage)}, outer)
    else:
        headers = exchange.headers()
        if "baggage" in headers:
            headers = {**headers, "baggage": _GAPS.sub(" ", headers["baggage"])}
        outer = propagate.extract(headers, outer)
        parent = _parent_in(outer.get(SPAN_KEY))
    span = exchange.span = server_span(settings, exchange.original_method, exchange.path, exchange.url, parent)
    begins = parent is None  # then the request is named like its trace
    identify(settings, exchange, _trace_id_of(span) if begins else 0)
    ours = {SPAN_KEY: span, REQUEST_KEY: exchange}
    return Context({**outer, **ours} if outer else ours)


def server_span(
    settings: Settings, method: str, path: str, url: Callable[[], str], parent: RemoteParent | None
) -> api.Span:
    """The span of a request or a connection, named by its method until the route is known."""
    tracer, ids = settings.tracer, settings.ids
    excluded = settings.excluded_urls
    if path.startswith(settings.excluded_prefixes) or (excluded is not None and excluded.search(url()) is not None):
        return unsampled(ids.trace_id() if parent is None else parent[0], ids.span_id())
    name = method if method in KNOWN_METHODS else "HTTP"
    if not isinstance(tracer, Tracer):
        return tracer.start_span(name, _foreign_parent(parent), SpanKind.SERVER)
    if parent is None:
        return tracer.span_below(name, SpanKind.SERVER, ids.trace_id(), 0, False, 0, "")
    trace_id, parent_id, flags, state = parent
    return tracer.span_below(name, SpanKind.SERVER, trace_id, parent_id, True, flags, state)


def already_traced(outer: Context) -> bool:
    """Whether somebody above us, other than a request of ours that calls in-process, made a server span."""
    span: Any = outer.get(SPAN_KEY)
    if span is None or getattr(span, "kind", None) is not SpanKind.SERVER or not span.is_recording():
        return False
    enclosing: Any = outer.get(REQUEST_KEY)
    return enclosing is None or enclosing.span is not span


def layers(app: Any, *attributes: str) -> Iterator[Any]:
    """An application and, outermost first, what it and the middlewares below it keep under these attributes."""
    for _ in range(_MOST_LAYERS):
        if app is None:
            return
        yield app
        app = next((getattr(app, name) for name in attributes if hasattr(app, name)), None)


def middleware_inside(app: Any, modules: frozenset[str], *attributes: str) -> bool:
    """Whether a middleware from one of these modules is among those layers."""
    return any(type(layer).__module__ in modules for layer in layers(app, *attributes))


def identify(settings: Settings, request: Request, trace_id: int) -> None:
    """The caller's ids where they are usable, else the id of the trace that starts here, else a new one."""
    sent, correlation_id = request.request_id, request.correlation_id
    request_id = (usable_id(sent) if sent else "") or (trace_id or settings.ids.trace_id()).to_bytes(16).hex()
    request.request_id = request_id
    # without one the work begins here, and is named like its first request
    request.correlation_id = (usable_id(correlation_id) if correlation_id else "") or request_id


def _trace_id_of(span: api.Span) -> int:
    return span.trace_id if type(span) is Span else span.get_span_context().trace_id


def _parent_in(span: Any) -> RemoteParent | None:
    context = span.get_span_context() if isinstance(span, api.Span) else None
    if context is None or not context.is_valid or not context.is_remote:
        return None
    return context.trace_id, context.span_id, int(context.trace_flags), context.trace_state.to_header()


def _foreign_parent(parent: RemoteParent | None) -> Context:
    """The parent as other providers want it; an empty context where the request starts a trace."""
    if parent is None:
        return Context()
    trace_id, span_id, flags, header = parent
    state = api.TraceState.from_header([header]) if header else None
    identity = api.SpanContext(trace_id, span_id, True, api.TraceFlags(flags), state)
    return Context({SPAN_KEY: api.NonRecordingSpan(identity)})
