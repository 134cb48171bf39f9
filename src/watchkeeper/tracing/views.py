"""Our spans as OpenTelemetry's SDK shows finished ones: `ReadableSpan`. Imported only where that SDK is in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link

from watchkeeper.tracing.span import Span


def resource_of(attributes: Mapping[str, Any]) -> Resource:
    """The resource that all views share."""
    return Resource(attributes)


class View(ReadableSpan):
    """A finished span. Only its identity is there at once; the rest is built when something is read."""

    def __init__(
        self, span: Span, resource: Resource, redact: Callable[[Span], Span]
    ) -> None:  # the parent's runs at the first look
        self._source = span
        self._redact = redact
        self._common_resource = resource
        self._context = span.get_span_context()

    def __getattr__(self, name: str) -> Any:
        """What is not there yet: everything is built, once."""
        if name.startswith("__") or "_name" in self.__dict__:
            raise AttributeError(name)
        span, scope = self._redact(self._source), self._source.scope
        super().__init__(
            name=span.name,
            context=self._context,
            parent=span.parent,
            resource=self._common_resource,
            attributes=span.attributes,
            events=[Event(event.name, event.attributes, event.timestamp) for event in span.events or ()],
            links=[Link(link.context, link.attributes) for link in span.links or ()],
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=InstrumentationScope(
                scope.name, scope.version, scope.schema_url, dict(scope.attributes)
            ),
        )
        return getattr(self, name)

    @property
    def dropped_attributes(self) -> int:
        """How many attributes found no room."""
        return self._source.dropped_attributes

    @property
    def dropped_events(self) -> int:
        """How many events found no room."""
        return self._source.dropped_events

    @property
    def dropped_links(self) -> int:
        """How many links found no room."""
        return self._source.dropped_links
