"""Running the SDK so that a test sees everything and nothing leaves the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from watchkeeper.client import Client, Redirection, redirected, running_client, shutdown, start_client
from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.context import attach, get_current
from watchkeeper.health.options import HealthOptions
from watchkeeper.logging.options import FileOptions, LogOptions
from watchkeeper.options import Options, usable
from watchkeeper.parts import Sinks
from watchkeeper.testing.captured import Captured
from watchkeeper.tracing.ids import Ids


@contextmanager
def capture(
    options: Options | None = None, *, clock: Clock = SYSTEM_CLOCK, ids: Ids | None = None
) -> Iterator[Captured]:
    """Runs the SDK with nothing leaving the process, and gives what it saw; afterwards what ran before runs again.

    Without options, lines from info upwards are captured, none is printed, and no check of this machine's health runs.
    An application that calls `configure` meanwhile is captured with its own options; its lines are neither printed nor
    written to files, and it does not reach any server. What it binds outside of requests ends with the capture.

    Example:
        >>> with testing.capture() as seen:
        ...     response = client.post("/orders")
        >>> seen.span("POST /orders").attributes["http.response.status_code"]
        201
    """
    wanted = (
        Options(logs=LogOptions(stream="off"), health=HealthOptions(checks=())) if options is None else usable(options)
    )
    before = running_client()
    shutdown(0.0)  # what that has not sent yet is a test's, too
    seen = Captured()
    sinks = Sinks(seen.spans.append, seen.records.append, seen.errors.append)

    def client_of(chosen: Options) -> Client:
        return Client(chosen, clock, ids, sinks)

    context = get_current()
    with redirected(Redirection(_kept_in, client_of)):
        start_client(client_of(replace(wanted, export={})))
        try:
            yield seen
        finally:
            shutdown()
            attach(context)  # without a token: an async fixture may end in another task than it began in
    if before is not None:
        start_client(before.again())


def _kept_in(wanted: Options) -> Options:
    """What an application asks for, without ways out."""
    logs = replace(wanted.logs, stream="off", file=FileOptions())
    return replace(wanted, export={}, logs=logs, enabled=True)
