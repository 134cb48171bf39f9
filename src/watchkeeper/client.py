"""The one wiring point: options become a client, and every part of the SDK is handed what it works with.

Loggers, tracers and metrics exist before `configure` runs (modules make them at import), so each part hangs on handles
of its own. A client wires them to its lanes, and unwires them when it is shut down.
"""

from __future__ import annotations

import atexit
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME, SERVICE_VERSION
from opentelemetry.semconv.attributes.telemetry_attributes import (
    TELEMETRY_SDK_LANGUAGE,
    TELEMETRY_SDK_NAME,
    TELEMETRY_SDK_VERSION,
)

from watchkeeper.caches.part import caches
from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.databases.part import databases
from watchkeeper.errors.part import errors
from watchkeeper.export.boundary import boundary
from watchkeeper.export.exporter import Exporter
from watchkeeper.health.part import health
from watchkeeper.integrations import apps
from watchkeeper.integrations.part import libraries, requests
from watchkeeper.language_models.part import language_models
from watchkeeper.logging.part import logging
from watchkeeper.metrics.part import metrics
from watchkeeper.multiprocess import AtEnd
from watchkeeper.option_types import settled
from watchkeeper.options import Options, ServiceOptions, said_of, usable
from watchkeeper.parts import Part, Sinks, Wiring
from watchkeeper.queues.part import queues
from watchkeeper.termination import termination
from watchkeeper.tracing.api import VERSION
from watchkeeper.tracing.ids import Ids, RandomIds
from watchkeeper.tracing.part import tracing

SHUTDOWN_SECONDS = (
    1.5  # the promise is that exit takes at most two with the server down; the interpreter needs some itself
)
LONGEST_FORK_DELAY_SECONDS = 0.2


# In the order in which they are wired.
PARTS: tuple[Part, ...] = (
    metrics,
    logging,
    tracing,
    queues,
    health,
    requests,
    errors,
    language_models,
    databases,
    caches,
    libraries,
)


class Client:
    """Options at work: lanes, the export thread, and every part wired to them."""

    def __init__(
        self,
        options: Options,
        clock: Clock = SYSTEM_CLOCK,
        ids: Ids | None = None,
        sinks: Sinks | None = None,
    ) -> None:
        self.options = options
        self._sinks = sinks
        self._clock = clock
        self._ids = ids or RandomIds()
        self._build()

    def _build(self) -> None:
        """Everything that belongs to one process."""
        options = self.options
        self._wiring = Wiring(
            options,
            self._clock,
            self._ids,
            resource_of(options.service),
            wake=self._wake,
            flush=self.flush,
            adopt=self.adopt,
            sinks=self._sinks,
        )
        self.lanes = self._wiring.lanes
        for part in PARTS:
            self.lanes.update({lane.signal: lane for lane in part.lanes(self._wiring)})
        self.exporter = Exporter(
            list(self.lanes.values()),
            options.queue.delay_seconds,
            every_round=_every_round,
            collect=metrics.collect if "metrics" in self.lanes else None,
            collect_seconds=options.metrics.interval_seconds,
        )

    def start(self) -> None:
        """Wires the SDK to this client."""
        if self.options.strict is not None:
            boundary.strict = self.options.strict
        try:
            self._wire()
        finally:
            self.adopt()

    def _wire(self) -> None:
        """Every part, whatever becomes of another. Raises what the first one raised."""
        failure: Exception | None = None
        for part in PARTS:
            try:
                part.wire(self._wiring)
            except Exception as error:  # noqa: BLE001  # told below, once the others are wired
                failure = failure or error
        if self.lanes:
            self.exporter.start()
        if failure is not None:
            raise failure

    def adopt(self) -> None:
        """Takes in what was imported since: servers' loggers, structlog, libraries with an integration."""
        for part in PARTS:
            try:
                part.adopt()
            except Exception as error:  # noqa: BLE001  # other people's code
                boundary.failed("integrations", error)

    def flush(self, timeout_seconds: float) -> bool:
        """Writes and sends what waits."""
        deadline = time.monotonic() + timeout_seconds
        _flush_parts(deadline)
        return not self.lanes or self.exporter.flush(max(0.0, deadline - time.monotonic()))

    def stop(self, timeout_seconds: float) -> None:
        """Unwires, and sends what can be sent in time."""
        deadline = time.monotonic() + timeout_seconds
        for part in reversed(PARTS):
            part.unwire(timeout_seconds)
        if self.lanes:
            self.exporter.stop(max(0.0, deadline - time.monotonic()))
        _flush_parts(deadline)

    def again(self) -> Client:
        """One like it, to be started after it was stopped."""
        return Client(self.options, self._clock, self._ids, self._sinks)

    def after_fork(self) -> None:
        """A child starts with empty queues, a thread, a connection, ids and an identity of its own."""
        self._build()
        self._wire()

    def _wake(self) -> None:
        self.exporter.wake()


def _every_round() -> None:
    for part in PARTS:
        part.every_round()


def _flush_parts(deadline: float) -> None:
    for part in PARTS:
        part.flush(max(0.0, deadline - time.monotonic()))


def resource_of(service: ServiceOptions) -> dict[str, Any]:
    """The resource's attributes: the service, this process of it, and this SDK."""
    attributes: dict[str, Any] = {
        SERVICE_NAME: service.name,
        "service.instance.id": str(uuid.uuid4()),
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        TELEMETRY_SDK_NAME: "watchkeeper",
        TELEMETRY_SDK_LANGUAGE: "python",
        TELEMETRY_SDK_VERSION: VERSION,
    }
    if service.version:
        attributes[SERVICE_VERSION] = service.version
    if service.environment:
        attributes["deployment.environment.name"] = service.environment
    return attributes | dict(service.attributes)


class Redirection(NamedTuple):
    """What `configure` does while a test captures."""

    options: Callable[[Options], Options]  # those that are asked for -> those that shall hold
    client: Callable[[Options], Client]  # these -> what is started


class _Process:
    """What this process runs: at most one client."""

    client: Client | None = None
    redirection: Redirection | None = None  # a test's
    lock = threading.RLock()


class _Forking(threading.local):
    """What this thread does around a fork: another one may be forking, too."""

    held: Sequence[threading.Lock] = ()


_forking = _Forking()


def configure(options: Options | None = None, *, service: str | None = None) -> None:
    """Starts the SDK with `options`, or with what the environment asks for; `service` names it in either.

    Safe to call first, last and twice: the same options again change nothing, others replace the running client.
    Everything else in this package works before it and without it, and does nothing then. Raises ConfigurationError,
    naming the option or variable that cannot be used, and never anything later.

    Example:
        >>> import watchkeeper as wk
        >>> wk.configure(service="shop")
    """
    wanted = Options.from_environment(os.environ) if options is None else settled("", options, Options)
    if service is not None:
        wanted = replace(wanted, service=replace(wanted.service, name=service))
    wanted = usable(wanted)
    said = list(said_of(wanted))
    with termination.held(), _Process.lock:
        redirection = _Process.redirection
        if redirection is not None:
            wanted = redirection.options(wanted)
        running = _Process.client
        if running is not None:
            if running.options == wanted:
                running.adopt()
                return
            running.stop(SHUTDOWN_SECONDS)
            _Process.client = None
        if wanted.enabled:
            start_client(Client(wanted) if redirection is None else redirection.client(wanted))
            for notice in said:
                boundary.say_once(notice, notice)
            termination.watch(shutdown, SHUTDOWN_SECONDS)
            _at_end.watch()


def start_client(client: Client) -> None:
    """Makes `client` the process's own. Trouble that is not the caller's stays behind the error boundary."""
    _Process.client = client
    try:
        client.start()
    except Exception as error:  # noqa: BLE001  # the application goes on, and so does what works
        boundary.failed("configure", error)


@contextmanager
def redirected(redirection: Redirection) -> Iterator[None]:
    """Lets `configure` start what `redirection` says, for the length of the block."""
    before, _Process.redirection = _Process.redirection, redirection
    try:
        yield
    finally:
        _Process.redirection = before


def running_client() -> Client | None:
    """The process's client, None before `configure` and after `shutdown`."""
    return _Process.client


def instrument(app: apps.Application) -> apps.Application | Any:
    """Watches an application: requests become metrics, spans and context of log lines. Gives the application back.

    FastAPI, Starlette and Flask applications are instrumented in place; any other ASGI or WSGI application, such as
    Django's, comes back wrapped, so use what is returned. Raises TypeError for anything else.

    Example:
        >>> import watchkeeper as wk
        >>> app = FastAPI()
        >>> wk.instrument(app)
    """
    if _Process.client is not None:
        _Process.client.adopt()
    return apps.instrument(app, requests.settings)


def uninstrument(app: Any) -> Any:
    """Undoes `instrument`. Gives the application back as it was.

    Example:
        >>> import watchkeeper as wk
        >>> app = wk.uninstrument(app)
    """
    return apps.uninstrument(app)


def flush(timeout_seconds: float = 5.0) -> bool:
    """Sends everything now. True if all of it was settled in time; False without a client.

    Example:
        >>> import watchkeeper as wk
        >>> wk.flush()
        True
    """
    client = _Process.client
    return client is not None and client.flush(timeout_seconds)


def shutdown(timeout_seconds: float = SHUTDOWN_SECONDS) -> None:
    """Sends what it can within the timeout and stops. Called by itself at exit; `configure` starts anew.

    Example:
        >>> import watchkeeper as wk
        >>> wk.shutdown()
    """
    with termination.held():
        with _Process.lock:
            client, _Process.client = _Process.client, None
        if client is not None:
            client.stop(timeout_seconds)
        else:
            _flush_parts(time.monotonic() + timeout_seconds)
    termination.unwatch()


def _before_fork() -> None:
    """Waits, not long, until our threads hold no lock that a child would find taken for ever."""
    locks = [lock for part in PARTS for lock in part.locks()]
    _forking.held = [lock for lock in locks if lock.acquire(timeout=LONGEST_FORK_DELAY_SECONDS)]


def _after_fork_in_parent() -> None:
    for lock in _forking.held:
        lock.release()
    try:
        for part in PARTS:
            part.forked()
    except Exception as error:  # noqa: BLE001  # the fork has happened, and its caller shall hear so
        boundary.failed("fork", error)


def _after_fork_in_child() -> None:
    _Process.lock = threading.RLock()
    termination.after_fork()
    try:
        with termination.held():
            for part in PARTS:
                part.after_fork()
            _at_end.watch()
            if _Process.client is not None:
                _Process.client.after_fork()
    except Exception as error:  # noqa: BLE001  # a child without telemetry is still a child that works
        boundary.failed("fork", error)


_at_end = AtEnd(shutdown)
atexit.register(shutdown)
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
