"""Trace headers: W3C Trace Context, read from raw header bytes (https://www.w3.org/TR/trace-context-2/), and others.

Writing is left to OpenTelemetry's propagators, which see our spans, but for what most requests carry of W3C's; reading
W3C's is here because it happens on every request. B3, Jaeger and whatever else is named in the options is read and
written by OpenTelemetry's propagators alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import NamedTuple

from opentelemetry import baggage, propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.environment_variables import OTEL_PROPAGATORS
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from watchkeeper.context import SPAN_KEY, Context
from watchkeeper.tracing.span import Span

STANDARD_PROPAGATORS = ("tracecontext", "baggage")
LONGEST_TRACESTATE = 8_192  # bytes; the recommendation asks for 512 at least

# Version 00 is these 55 characters exactly. A later version may go on after another dash; ff is forbidden.
_TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KNOWN_FLAGS = 0x03  # sampled, random-trace-id


class RemoteParent(NamedTuple):
    """The caller's span."""

    trace_id: int
    span_id: int
    flags: int
    trace_state: str  # a valid tracestate header, or empty


def read_traceparent(header: bytes, trace_state: bytes = b"") -> RemoteParent | None:
    """The caller's span, or None where the recommendation says to start anew. A bad tracestate is dropped alone."""
    match = _TRACEPARENT.fullmatch(header) or _TRACEPARENT.fullmatch(header.strip(b" \t"))
    if match is None:
        return None
    version, trace_hex, span_hex, flags, rest = match.groups()
    trace_id, span_id = int(trace_hex, 16), int(span_hex, 16)
    if not trace_id or not span_id or (rest is not None and version == b"00"):
        return None
    state = read_tracestate(trace_state) if trace_state else ""
    return RemoteParent(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS, state)


def read_tracestate(header: bytes) -> str:
    """The header in canonical form; empty if it is too long or breaks the grammar, which discards it whole."""
    if len(header) > LONGEST_TRACESTATE:
        return ""
    return TraceState.from_header([header.decode("latin-1")]).to_header()


class HeaderWriter:
    """What OpenTelemetry's global propagator would write for a context.

    A span without state or baggage is, under W3C's propagators, one line of text: so it takes a fourth of the time.
    """

    def __init__(self) -> None:
        self._asked: TextMapPropagator | None = None
        self._standard = False

    def headers(self, context: Context) -> dict[str, str]:
        """Headers by name. Raises what a propagator raises."""
        textmap = propagate.get_global_textmap()
        if textmap is not self._asked:
            kinds = {type(one) for one in getattr(textmap, "_propagators", ())}
            whole = type(textmap) is CompositePropagator
            self._standard = whole and kinds == {TraceContextTextMapPropagator, W3CBaggagePropagator}
            self._asked = textmap
        span = context.get(SPAN_KEY)
        if self._standard and type(span) is Span and not span.trace_state_text and not baggage.get_all(context):
            return {"traceparent": f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"}
        found: dict[str, str] = {}
        textmap.inject(found, context)
        return found


class GlobalPropagator:
    """OpenTelemetry's global propagator, which instrumentation libraries write headers with.

    OpenTelemetry sets it from OTEL_PROPAGATORS. It is replaced only where the options ask for something else, and given
    back afterwards.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        named = environ.get(OTEL_PROPAGATORS) or ",".join(STANDARD_PROPAGATORS)
        self._of_environment = tuple(name.strip() for name in named.split(","))
        self._before: TextMapPropagator | None = None
        self._ours: TextMapPropagator | None = None

    def install(self, names: tuple[str, ...]) -> None:
        """Sets the propagators of these names."""
        self.uninstall()
        if names == self._of_environment:
            return
        self._ours = composite_of(names)
        self._before = propagate.get_global_textmap()
        propagate.set_global_textmap(self._ours)

    def uninstall(self) -> None:
        """Gives the former propagator back, unless somebody has set another since."""
        if self._before is not None and propagate.get_global_textmap() is self._ours:
            propagate.set_global_textmap(self._before)
        self._before = self._ours = None


def composite_of(names: tuple[str, ...]) -> TextMapPropagator:
    """The propagators of these names, which are installed, as one; `none` is none."""
    if "none" in names:
        return CompositePropagator([])
    points = [next(iter(entry_points(group="opentelemetry_propagator", name=name))) for name in names]
    return CompositePropagator([point.load()() for point in points])


global_propagator = GlobalPropagator()
header_writer = HeaderWriter()
