"""Spans in OTLP: field numbers of opentelemetry-proto `trace.proto`.

A server span's attributes mostly repeat from request to request. Their bytes are kept per (method, route, status, …),
so encoding such a span is a look-up and a join: 4 µs instead of 45.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from opentelemetry.semconv.attributes.client_attributes import CLIENT_ADDRESS, CLIENT_PORT
from opentelemetry.semconv.attributes.url_attributes import URL_PATH, URL_QUERY
from opentelemetry.semconv.attributes.user_agent_attributes import USER_AGENT_ORIGINAL
from opentelemetry.trace import SpanKind, StatusCode

from watchkeeper.export.otlp.resource import request, scope_field
from watchkeeper.export.otlp.wire import delimited, fixed32, fixed64, key_value, key_values, text, utf8, varint
from watchkeeper.tracing.http import HttpFacts, repeating_attributes
from watchkeeper.tracing.span import Event, Scope, Span, SpanLink
from watchkeeper.values import truncated

_ATTRIBUTE = 0x4A
_KINDS = {  # by identity: an Enum's own hash is a call
    id(SpanKind.INTERNAL): b"\x30\x01",
    id(SpanKind.SERVER): b"\x30\x02",
    id(SpanKind.CLIENT): b"\x30\x03",
    id(SpanKind.PRODUCER): b"\x30\x04",
    id(SpanKind.CONSUMER): b"\x30\x05",
}
_ids_and_times = struct.Struct("<2s16s2s8sBQBQ").pack
# Bits 0 to 7 are the W3C flags, bit 8 says that bit 9 (the parent is remote) is known.
_FLAGS = tuple(b"\x85\x01" + fixed32(flags) for flags in range(0x400))
_LOCAL_PARENT, _REMOTE_PARENT = 0x100, 0x300


class SpanEncoder:
    """Encodes batches for one resource. Used by one thread at a time."""

    def __init__(self, resource: bytes, cache_size: int = 4_096) -> None:
        self._resource = resource
        self._cache_size = cache_size  # entries of each cache; one is about 400 bytes
        self._templates: dict[object, bytes] = {}
        self._texts: dict[tuple[str, bytes | str], bytes] = {}
        self._names: dict[str, bytes] = {}
        self._clients: dict[tuple[str, int | None], bytes] = {}

    def encode(self, spans: Sequence[Span]) -> bytes:
        """An ExportTraceServiceRequest."""
        by_scope: dict[Scope, list[bytes]] = {}
        scope, encoded = None, []
        for span in spans:
            if span.scope is not scope:  # most have the one before's
                scope = span.scope
                encoded = by_scope.setdefault(scope, [])
            encoded.append(self.span(span))
        return request(self._resource, [_scope_spans(scope, encoded) for scope, encoded in by_scope.items()])

    def span(self, span: Span) -> bytes:
        """A Span as a field of ScopeSpans."""
        trace_id, span_id = span.trace_id.to_bytes(16), span.span_id.to_bytes(8)
        parts = [
            _ids_and_times(b"\x0a\x10", trace_id, b"\x12\x08", span_id, 0x39, span.start_time, 0x41, span.end_time),
            self._names.get(span.name) or self._name(span.name),
            _KINDS[id(span.kind)],
            _FLAGS[span.trace_flags & 0xFF | (_REMOTE_PARENT if span.parent_is_remote else _LOCAL_PARENT)],
        ]
        if span.parent_id:
            parts += b"\x22\x08", span.parent_id.to_bytes(8)
        if span.http is not None:
            parts += self._http(span.http)
        attributes = span._attributes  # noqa: SLF001  # the public view is a copy
        if attributes:
            parts.append(key_values(_ATTRIBUTE, attributes))
        if span.status_code is not StatusCode.UNSET or span.events or span.links or span.trace_state_text:
            parts.append(_rare(span))
        if span.dropped_attributes or span.dropped_events or span.dropped_links:
            parts.append(_dropped(span))
        payload = b"".join(parts)
        return b"\x12%b%b" % (varint(len(payload)), payload)

    def _name(self, name: str) -> bytes:
        _make_room(self._names, self._cache_size)
        encoded = self._names[name] = text(0x2A, truncated(name))
        return encoded

    def _http(self, facts: HttpFacts) -> list[bytes]:
        repeating, path, query, user_agent, client = facts
        template = self._templates.get(repeating)
        if template is None:
            _make_room(self._templates, self._cache_size)
            template = self._templates[repeating] = key_values(_ATTRIBUTE, repeating_attributes(repeating))
        parts = [template, self._text(URL_PATH, path)]
        if user_agent:
            parts.append(self._text(USER_AGENT_ORIGINAL, user_agent))
        if client is not None:
            address, port = client  # a list, of some servers
            parts.append(self._clients.get((address, port)) or self._client(address, port))
        if query:
            parts.append(key_value(_ATTRIBUTE, URL_QUERY, truncated(query.decode("latin-1"))))
        return parts

    def _client(self, address: str, port: int | None) -> bytes:
        _make_room(self._clients, self._cache_size)
        encoded = key_values(_ATTRIBUTE, {CLIENT_ADDRESS: address, CLIENT_PORT: port})
        self._clients[address, port] = encoded
        return encoded

    def _text(self, key: str, value: bytes | str) -> bytes:
        encoded = self._texts.get((key, value))
        if encoded is None:
            _make_room(self._texts, self._cache_size)
            words = value.decode("latin-1") if isinstance(value, bytes) else value
            encoded = self._texts[key, value] = key_value(_ATTRIBUTE, key, truncated(words))
        return encoded


def _make_room(cache: dict[Any, bytes], size: int) -> None:
    # Emptying all at once keeps a hit to one look-up; user agents or paths that never repeat would otherwise grow
    # it for ever.
    if len(cache) >= size:
        cache.clear()


def _scope_spans(scope: Scope, spans: list[bytes]) -> bytes:
    return (
        scope_field(scope.name, scope.version, dict(scope.attributes)) + b"".join(spans) + text(0x1A, scope.schema_url)
    )


def _rare(span: Span) -> bytes:
    """Fields that most spans leave empty."""
    parts = [text(0x1A, span.trace_state_text)]
    parts += [delimited(0x5A, _event(event)) for event in span.events or ()]
    parts += [delimited(0x6A, _link(link)) for link in span.links or ()]
    if span.status_code is not StatusCode.UNSET:
        code = b"\x18\x01" if span.status_code is StatusCode.OK else b"\x18\x02"
        parts.append(delimited(0x7A, text(0x12, span.status_message) + code))
    return b"".join(parts)


def _dropped(span: Span) -> bytes:
    counts = ((b"\x50", span.dropped_attributes), (b"\x60", span.dropped_events), (b"\x70", span.dropped_links))
    return b"".join([tag + varint(count) for tag, count in counts if count])


def _event(event: Event) -> bytes:
    return b"\x09" + fixed64(event.timestamp) + delimited(0x12, utf8(event.name)) + key_values(0x1A, event.attributes)


def _link(link: SpanLink) -> bytes:
    context = link.context
    flags = int(context.trace_flags) & 0xFF | (_REMOTE_PARENT if context.is_remote else _LOCAL_PARENT)
    return b"".join(
        (
            b"\x0a\x10",
            context.trace_id.to_bytes(16, "big"),
            b"\x12\x08",
            context.span_id.to_bytes(8, "big"),
            text(0x1A, context.trace_state.to_header()),
            key_values(0x22, link.attributes),
            b"\x35" + fixed32(flags),
        )
    )
