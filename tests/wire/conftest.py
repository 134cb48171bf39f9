"""What the tests of bad senders share: whatever they do, the server goes on and loses nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from support.otlp import span, spans_request
from support.server import ServerProcess


class Witness:
    """Sends good spans, and finds them again."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._sent: list[str] = []

    def send(self) -> None:
        """A good request is taken now."""
        trace_id = os.urandom(16).hex()
        body = spans_request([span(trace=trace_id, id="01" * 8, start=time.time_ns())], service="witness")
        answer = self._server.post("/v1/traces", body)
        assert (answer.status, answer.body) == (200, b"")
        self._sent.append(trace_id)

    def verify(self) -> None:
        """Every one of them is stored, and nothing was set aside."""
        for trace_id in self._sent:
            assert len(self._server.trace(trace_id)["spans"]) == 1
        assert not (self._server.data / "quarantine").exists()
        assert "Traceback" not in self._server.log_tail(1_000_000)


@pytest.fixture(scope="module")
def witness(server: ServerProcess) -> Iterator[Witness]:
    """Good requests to the server that the module sends bad ones to."""
    witness = Witness(server)
    yield witness
    witness.verify()


@pytest.fixture
def unharmed(server: ServerProcess, witness: Witness) -> Iterator[None]:
    """After the test the server runs and takes a good request."""
    yield
    assert server.alive()
    witness.send()
