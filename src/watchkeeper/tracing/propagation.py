"""W3C Trace Context, read from raw header bytes (https://www.w3.org/TR/trace-context-2/).

Writing is left to OpenTelemetry's propagators, which see our spans; reading is here because it happens on every
request.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from opentelemetry.trace import TraceState

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
    match = _TRACEPARENT.fullmatch(header)
    if match is None:
        return None
    version, trace_hex, span_hex, flags, rest = match.groups()
    trace_id, span_id = int(trace_hex, 16), int(span_hex, 16)
    if not trace_id or not span_id or (rest is not None and version == b"00"):
        return None
    state = read_tracestate(trace_state) if trace_state else ""
    return RemoteParent(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS, state)


def read_tracestate(header: bytes) -> str:
    """The header in canonical form; empty if it breaks the recommendation's grammar, which discards it whole."""
    return TraceState.from_header([header.decode("latin-1")]).to_header()
