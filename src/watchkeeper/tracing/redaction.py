"""Secrets out of finished spans: by the same names and patterns as out of log lines, before anybody is shown a span.

It is done when a span is first looked at (by the export thread, or by a processor that reads it), so that a request
pays nothing. A span that holds no secret, which is nearly every one, costs some look-ups and stays as it is; the others
are changed in place, since a finished span has no other readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_STACKTRACE

from watchkeeper.export.boundary import boundary
from watchkeeper.logging.options import RedactionOptions
from watchkeeper.logging.redaction import Redaction
from watchkeeper.tracing.http import HttpFacts
from watchkeeper.tracing.processors import Redact
from watchkeeper.tracing.span import Span

_MOST_REMEMBERED, _LONGEST_REMEMBERED = 1_024, 512  # headers, and bytes of one


def redact_by(options: RedactionOptions) -> Redact:
    """What takes secrets out of a span, and gives it back."""
    return _Spans(Redaction(options)) if options.enabled else _as_it_is


def _as_it_is(span: Span) -> Span:
    return span


class _Spans:
    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._plain_headers: set[bytes] = set()

    def __call__(self, span: Span) -> Span:
        try:
            self._clean(span)
        except Exception as error:  # noqa: BLE001  # what cannot be looked through is not shown
            span.name, span.status_message = "unreadable span", ""
            span._attributes = span.events = span.links = span.http = None  # noqa: SLF001
            boundary.failed_in_background("redaction of a span", error)
        return span

    def _clean(self, span: Span) -> None:
        redaction = self._redaction
        if span.name not in redaction.plain_texts:
            span.name = redaction.text(span.name)
        told = span._attributes  # noqa: SLF001  # the public view is a copy
        if told:
            clean = redaction.snapshot(told)
            if clean is not told:
                span._attributes = clean  # noqa: SLF001
        if span.http is not None:
            span.http = self._http(span.http)
        if span.status_message:
            span.status_message = redaction.text(span.status_message)
        if span.events:
            span.events = [
                event._replace(name=redaction.text(event.name), attributes=self._attributes(event.attributes))
                for event in span.events
            ]
        if span.links:
            span.links = [link._replace(attributes=self._attributes(link.attributes)) for link in span.links]

    def _http(self, facts: HttpFacts) -> HttpFacts:
        """What a caller chose: the path and the query, which may hold anything, and what it says it is."""
        repeating, path, query, agent, client = facts
        if path not in self._redaction.plain_texts:
            path = self._redaction.text(path)
        if query:
            query = self._header(query)
        if agent not in self._plain_headers:
            agent = self._header(agent)
        return repeating, path, query, agent, client

    def _header(self, header: bytes) -> bytes:
        text = header.decode("latin-1")
        clean = self._redaction.text(text)
        if clean is not text:
            return clean.encode("latin-1", "replace")
        if len(header) <= _LONGEST_REMEMBERED:
            if len(self._plain_headers) >= _MOST_REMEMBERED:
                self._plain_headers.clear()
            self._plain_headers.add(header)
        return header

    def _attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        told = dict(attributes)
        stack = told.pop(EXCEPTION_STACKTRACE, None)
        clean = self._redaction.snapshot(told)
        return clean if stack is None else {**clean, EXCEPTION_STACKTRACE: self._redaction.stack(str(stack))}
