"""OpenTelemetry's own span processors, and through them its exporters, on our spans.

A processor is told of a span's start with the span itself, and of its end with a read-only view. Views are built when
they are first looked at, in the thread that looks. Nothing that a processor raises reaches the application.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from watchkeeper.context import get_current
from watchkeeper.export.boundary import boundary
from watchkeeper.tracing.span import Span

Redact = Callable[[Span], Span]  # takes secrets out of a finished span, and gives it back


class Processors:
    """The processors that an application added, in their order."""

    def __init__(self) -> None:
        self._processors: tuple[Any, ...] = ()

    def add(self, processor: Any) -> None:
        """Adds one. Raises ImportError that says what to install."""
        try:
            self._views = importlib.import_module("watchkeeper.tracing.views")
        except ImportError as error:
            raise ImportError("span processors belong to OpenTelemetry's SDK: pip install opentelemetry-sdk") from error
        self._processors = (*self._processors, processor)

    def before(
        self, sink: Callable[[Span], None], resource: Mapping[str, Any], redact: Redact
    ) -> Callable[[Span], None]:
        """A sink that shows each span to the processors, then hands it on."""
        shared = self._views.resource_of(resource)
        view = self._views.View

        def end(span: Span) -> None:
            self._each("on_end", view(span, shared, redact))
            sink(span)

        return end

    def on_start(self, span: Span) -> None:
        """Shows a span that has just started."""
        self._each("on_start", span, get_current())

    def flush(self, timeout_seconds: float) -> bool:
        """Lets each send what waits; True if all did within the timeout, which they share."""
        deadline = time.monotonic() + timeout_seconds
        done = True
        for processor in self._processors:
            remaining = max(0, round((deadline - time.monotonic()) * 1e3))
            try:
                done = processor.force_flush(remaining) is not False and done
            except Exception as error:  # noqa: BLE001  # somebody else's code
                done = False
                boundary.failed("span processor", error)
        return done

    def shutdown(self) -> None:
        """Shuts all of them down."""
        self._each("shutdown")

    def _each(self, method: str, *arguments: Any) -> None:
        for processor in self._processors:
            try:
                getattr(processor, method)(*arguments)
            except Exception as error:  # noqa: BLE001  # somebody else's code
                boundary.failed("span processor", error)
