"""Fixtures of the SDK's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.sdk import Sink, serving
from watchkeeper import shutdown, testing
from watchkeeper.export.boundary import boundary


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A real OTLP server; whatever client runs at the end is shut down first."""
    with serving() as found:
        yield found
        shutdown(0.5)


@pytest.fixture
def seen() -> Iterator[testing.Captured]:
    with testing.capture() as captured:
        yield captured


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error boundary as it is in production: silent and counting."""
    monkeypatch.setattr(boundary, "strict", False)
