"""httpx, through OpenTelemetry's instrumentation of it (`pip install watchkeeper[httpx]`)."""

from __future__ import annotations

from watchkeeper.integrations.contrib import Instrumentation

_instrumentation = Instrumentation("httpx", "opentelemetry.instrumentation.httpx", "HTTPXClientInstrumentor")


def install() -> None:
    """Spans for every request, carrying the trace on to the server. Raises ImportError that says what to install."""
    _instrumentation.install()


def uninstall() -> None:
    """Stops that."""
    _instrumentation.uninstall()
