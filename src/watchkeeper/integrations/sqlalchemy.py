"""sqlalchemy, through OpenTelemetry's instrumentation of it (`pip install watchkeeper[sqlalchemy]`)."""

from __future__ import annotations

from watchkeeper.integrations.contrib import Instrumentation

_instrumentation = Instrumentation("sqlalchemy", "opentelemetry.instrumentation.sqlalchemy", "SQLAlchemyInstrumentor")


def install() -> None:
    """Spans for the statements of every engine made from now on. Raises ImportError that says what to install."""
    _instrumentation.install()


def uninstall() -> None:
    """Stops that."""
    _instrumentation.uninstall()
