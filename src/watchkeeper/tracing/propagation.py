"""Trace headers: W3C Trace Context, read from raw header bytes (https://www.w3.org/TR/trace-context-2/), and others.

Writing is left to OpenTelemetry's propagators, which see our spans, but for what most requests carry of W3C's; reading
W3C's is here because it happens on every request. B3, Jaeger and whatever else is named in the options is read and
written by OpenTelemetry's propagators alone.
"""

from __future__ import annotations

import os
import re
import struct
from binascii import unhexlify
from collections.abc import Mapping
from importlib.metadata import entry_points

from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.environment_variables import OTEL_PROPAGATORS
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from watchkeeper.context import SPAN_KEY, Context
from watchkeeper.tracing.otel_propagate import GROUP, propagate
from watchkeeper.tracing.span import Span

STANDARD_PROPAGATORS = ("tracecontext", "baggage")
LONGEST_TRACESTATE = 8_192  # bytes; the recommendation asks for 512 at least

# Version 00 is these 55 characters exactly. A later version may go on after another dash; ff is forbidden.
_TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KNOWN_FLAGS = 0x03  # sampled, random-trace-id
_LENGTH, _DASH = 55, ord("-")
_fields = struct.Struct(">B16sQB").unpack  # version, trace id, span id, flags


# The caller's span: trace id, span id, flags, and a valid tracestate header or nothing.
RemoteParent = tuple[int, int, int, str]


def read_traceparent(header: bytes, trace_state: bytes = b"") -> RemoteParent | None:
    """The caller's span, or None where the recommendation says to start anew. A bad tracestate is dropped alone."""
    version = 1
    if len(header) == _LENGTH and header[2] == header[35] == header[52] == _DASH and header == header.lower():
        try:  # what nearly every caller sends, for half of what the expression costs
            version, trace_bytes, span_id, flags = _fields(unhexlify(header.replace(b"-", b"")))
            trace_id = int.from_bytes(trace_bytes)
        except (ValueError, struct.error):  # other characters than hexadecimal digits, or more dashes
            return None
    if version:
        trace_id, span_id, flags = _of_any_version(header)
    if not trace_id or not span_id:
        return None
    return trace_id, span_id, flags & _KNOWN_FLAGS, read_tracestate(trace_state) if trace_state else ""


def _of_any_version(header: bytes) -> tuple[int, int, int]:
    """Trace id, span id and flags; zeros if the header cannot be read."""
    match = _TRACEPARENT.fullmatch(header) or _TRACEPARENT.fullmatch(header.strip(b" \t"))
    if match is None:
        return 0, 0, 0
    version, trace_id, span_id, flags, rest = match.groups()
    if rest is not None and version == b"00":
        return 0, 0, 0
    return int(trace_id, 16), int(span_id, 16), int(flags, 16)


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
    points = [next(iter(entry_points(group=GROUP, name=name))) for name in names]
    return CompositePropagator([point.load()() for point in points])


global_propagator = GlobalPropagator()
header_writer = HeaderWriter()
