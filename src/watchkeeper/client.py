"""The one wiring point: options become a client, and every part of the SDK is handed what it works with.

Loggers, tracers and metrics exist before `configure` runs (modules make them at import), so they hang on three
handles: the provider, the pipeline and the declarations. A client wires these handles to its queues, and unwires them
when it is shut down.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME, SERVICE_VERSION
from opentelemetry.semconv.attributes.telemetry_attributes import (
    TELEMETRY_SDK_LANGUAGE,
    TELEMETRY_SDK_NAME,
    TELEMETRY_SDK_VERSION,
)

from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.environment import ConfigurationError
from watchkeeper.export.boundary import boundary
from watchkeeper.export.exporter import Exporter, Lane, Payload
from watchkeeper.export.otlp.logs import LogEncoder
from watchkeeper.export.otlp.metrics import MetricEncoder
from watchkeeper.export.otlp.resource import resource_field
from watchkeeper.export.otlp.spans import SpanEncoder
from watchkeeper.export.outlets import outlet_of
from watchkeeper.export.queue import Queue
from watchkeeper.integrations import apps, httpx, sqlalchemy, stdlib_logging, structlog_logging
from watchkeeper.integrations.exchange import Settings
from watchkeeper.logging.pipeline import pipeline
from watchkeeper.logging.record import Record
from watchkeeper.logging.redaction import Redaction
from watchkeeper.logging.sinks import writers_for
from watchkeeper.metrics.declare import declarations
from watchkeeper.metrics.default_labels import WithLabels
from watchkeeper.metrics.http import http_metrics
from watchkeeper.metrics.runtime import runtime
from watchkeeper.options import Options, ServiceOptions
from watchkeeper.tracing.api import SCOPE, VERSION, Origin, provider
from watchkeeper.tracing.ids import Ids, RandomIds
from watchkeeper.tracing.propagation import STANDARD_PROPAGATORS, global_propagator
from watchkeeper.tracing.recent import recent
from watchkeeper.tracing.sampling import always_off, sampler_of
from watchkeeper.tracing.span import Span

SHUTDOWN_SECONDS = (
    1.5  # the promise is that exit takes at most two with the server down; the interpreter needs some itself
)
LONGEST_FORK_DELAY_SECONDS = 0.2
_INTEGRATIONS = {"httpx": httpx, "sqlalchemy": sqlalchemy}


class Sinks(NamedTuple):
    """Where spans and records go instead of the queues."""

    spans: Callable[[Span], None]
    records: Callable[[Record], None]


class Client:
    """Options at work: queues, the export thread, and everything wired to them."""

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
        recent.clear()
        self._resource = resource_of(options.service)
        resource = resource_field(self._resource)
        encoders: dict[str, Callable[[Sequence[Any]], bytes]] = {
            "traces": SpanEncoder(resource).encode,
            "logs": LogEncoder(resource).encode,
            "metrics": _nothing,  # the registry is read when it is due, not queued
        }
        self._metric_encoder = MetricEncoder(resource, time.time_ns())
        self.lanes = {
            signal: Lane(
                signal,
                *outlet_of(signal, target, f"watchkeeper-python/{VERSION}", self._resource, encoders[signal]),
                Queue(signal, options.queue.capacity, options.queue.batch, self._wake),
                seen=recent.file if signal == "traces" else None,
            )
            for signal, target in options.export.items()
            if target.endpoint
        }
        collect = self._collect if "metrics" in self.lanes else None
        self.exporter = Exporter(
            list(self.lanes.values()),
            options.queue.delay_seconds,
            every_round=http_metrics.settle,
            collect=collect,
            collect_seconds=options.metrics.interval_seconds,
        )

    def start(self) -> None:
        """Wires the SDK to this client."""
        options = self.options
        if options.strict is not None:
            boundary.strict = options.strict
        declarations.label_limit = options.metrics.label_limit
        declarations.default_labels = options.metrics.default_labels
        runtime.install()
        pipeline.close(SHUTDOWN_SECONDS / 2)
        self._wire_logging()
        if options.logs.capture:
            stdlib_logging.install()
        self._wire_tracing()
        self._wire_requests()
        global_propagator.install(options.propagators)
        self.adopt()
        if self.lanes:
            self.exporter.start()

    def _wire_logging(self) -> None:
        logs = self.options.logs
        writers = writers_for(logs, self.options.service)
        redaction = Redaction(logs.redaction)
        pipeline.wire(logs.level, writers, self._offer_records(), self._clock, redaction, logs.slow_seconds)

    def _offer_records(self) -> Callable[[Record], None] | None:
        if self._sinks is not None:
            return self._sinks.records
        return self.lanes["logs"].queue.offer if "logs" in self.lanes else None

    def _wire_tracing(self) -> None:
        sink: Callable[[Span], None] = _discard
        if self._sinks is not None:
            sink = self._sinks.spans
        elif "traces" in self.lanes:
            sink = self.lanes["traces"].queue.offer
        provider.wire(sink, sampler_of(self.options.traces, self._clock), self._ids, self._clock, self._resource)
        installed = trace.get_tracer_provider()
        if isinstance(installed, trace.ProxyTracerProvider):
            trace.set_tracer_provider(provider)
            installed = provider
        # A provider that the application installed keeps every span, ours included: one trace, one exporter.
        Origin.tracer = installed.get_tracer(SCOPE, VERSION)

    def _wire_requests(self) -> None:
        options = self.options
        settings.enabled = True
        settings.tracer = Origin.tracer
        settings.clock = self._clock
        settings.ids = self._ids
        settings.metrics_path = options.metrics.path
        settings.excluded_prefixes = options.traces.excluded_prefixes
        patterns = options.traces.excluded_urls
        settings.excluded_urls = re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None
        settings.standard_propagators = options.propagators == STANDARD_PROPAGATORS
        settings.on_server_start = self._on_server_start
        settings.on_server_stop = lambda: self.flush(SHUTDOWN_SECONDS)

    def _on_server_start(self) -> None:
        self.adopt()
        runtime.watch_loop()

    def adopt(self) -> None:
        """Takes in what was imported since: servers' loggers, structlog, libraries with an integration."""
        try:
            self._adopt()
        except Exception as error:  # noqa: BLE001  # other people's instrumentation
            boundary.failed("integrations", error)

    def _adopt(self) -> None:
        if self.options.logs.capture:
            stdlib_logging.capture.adopt_servers()
            structlog_logging.install()
        for name in self.options.integrations:
            if name in sys.modules and importlib.util.find_spec(f"opentelemetry.instrumentation.{name}") is not None:
                _INTEGRATIONS[name].install()

    def flush(self, timeout_seconds: float) -> bool:
        """Writes and sends what waits."""
        deadline = time.monotonic() + timeout_seconds
        pipeline.flush(timeout_seconds)
        return not self.lanes or self.exporter.flush(max(0.0, deadline - time.monotonic()))

    def stop(self, timeout_seconds: float) -> None:
        """Unwires, and sends what can be sent in time."""
        deadline = time.monotonic() + timeout_seconds
        settings.enabled = False
        runtime.uninstall()
        flushing = provider.begin_flush(timeout_seconds)
        provider.wire(_discard, always_off, self._ids, self._clock)
        global_propagator.uninstall()
        for integration in self.options.integrations:
            _INTEGRATIONS[integration].uninstall()
        structlog_logging.uninstall()
        stdlib_logging.uninstall()
        pipeline.stop_offering()
        if self.lanes:
            self.exporter.stop(max(0.0, deadline - time.monotonic()))
        pipeline.flush(max(0.0, deadline - time.monotonic()))
        if flushing is not None:
            flushing.join(max(0.0, deadline - time.monotonic()))

    def after_fork(self) -> None:
        """A child starts with empty queues, a thread, a connection, ids and an identity of its own."""
        if isinstance(self._ids, RandomIds):
            self._ids.reseed()
        self._build()
        declarations.after_fork()
        http_metrics.after_fork()
        runtime.after_fork()
        self._wire_logging()
        self._wire_tracing()
        self._wire_requests()
        if self.lanes:
            self.exporter.start()

    def _wake(self) -> None:
        self.exporter.wake()

    def _collect(self) -> None:
        """Puts the registry's present state on its way, in place of an older one that could not be sent."""
        lane = self.lanes["metrics"]
        with declarations.reading:
            families = list(WithLabels(declarations.registry, self.options.metrics.default_labels).collect())
        body = self._metric_encoder.encode(families, self._clock.wall_ns())
        lane.payloads.clear()
        if body:
            lane.payloads.append(Payload(body, sum(len(family.samples) for family in families)))


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


def _nothing(_items: Any) -> bytes:
    return b""


def _discard(_span: Span) -> None:
    pass


settings = Settings(http_metrics, Origin.tracer, provider.ids)


class _Process:
    """What this process runs: at most one client."""

    client: Client | None = None
    lock = threading.RLock()
    held: Sequence[threading.Lock] = ()  # while forking


def configure(options: Options | None = None, *, service: str | None = None) -> None:
    """Starts the SDK with `options`, or with what the environment asks for; `service` names it in either.

    Safe to call first, last and twice: the same options again change nothing, others replace the running client.
    Everything else in this package works before it and without it, and does nothing then. Raises ConfigurationError,
    naming the option or variable that cannot be used, and never anything later.

    Example:
        >>> import watchkeeper as wk
        >>> wk.configure(service="shop")
    """
    wanted = Options.from_environment(os.environ) if options is None else options
    if service is not None:
        wanted = replace(wanted, service=replace(wanted.service, name=service))
    wanted.validate()
    with _Process.lock:
        running = _Process.client
        if running is not None:
            if running.options == wanted:
                running.adopt()
                return
            running.stop(SHUTDOWN_SECONDS)
            _Process.client = None
        if wanted.enabled:
            start_client(Client(wanted))


def start_client(client: Client) -> None:
    """Makes `client` the process's own. Trouble that is not the caller's stays behind the error boundary."""
    try:
        client.start()
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001  # the application goes on without telemetry
        boundary.failed("configure", error)
    _Process.client = client


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
    return apps.instrument(app, settings)


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
    with _Process.lock:
        client, _Process.client = _Process.client, None
    if client is not None:
        client.stop(timeout_seconds)
    else:
        pipeline.flush(timeout_seconds)


def _before_fork() -> None:
    """Waits, not long, until our threads hold no lock that a child would find taken for ever."""
    locks = [declarations.reading, http_metrics.settling(), *pipeline.locks()]
    _Process.held = [lock for lock in locks if lock.acquire(timeout=LONGEST_FORK_DELAY_SECONDS)]


def _after_fork_in_parent() -> None:
    for lock in _Process.held:
        lock.release()


def _after_fork_in_child() -> None:
    _Process.lock = threading.RLock()
    declarations.reading = threading.Lock()
    try:
        multiprocessing_util = sys.modules.get("multiprocessing.util")
        if multiprocessing_util is not None:
            # Its children leave through os._exit, past atexit; its own finalizers are what they do run.
            multiprocessing_util.register_after_fork(_Process, _at_exit_of_multiprocessing_child)
        if _Process.client is not None:
            _Process.client.after_fork()
        else:
            pipeline.wire_defaults()
    except Exception as error:  # noqa: BLE001  # a child without telemetry is still a child that works
        boundary.failed("fork", error)


def _at_exit_of_multiprocessing_child(_process: object) -> None:
    sys.modules["multiprocessing.util"].Finalize(None, shutdown, exitpriority=0)


atexit.register(shutdown)
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
