"""Tracing as a part of the SDK: the provider, and the propagator that other people's instrumentation uses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from opentelemetry import trace
from opentelemetry.environment_variables import OTEL_PYTHON_TRACER_PROVIDER

from watchkeeper.clock import SYSTEM_CLOCK
from watchkeeper.export.boundary import boundary
from watchkeeper.export.console import Console
from watchkeeper.export.exporter import Lane
from watchkeeper.export.options import SignalOptions
from watchkeeper.export.otlp.resource import resource_field
from watchkeeper.export.otlp.spans import SpanEncoder
from watchkeeper.export.outlets import outlet_of
from watchkeeper.parts import Part, Wiring
from watchkeeper.tracing.api import SCOPE, VERSION, Origin, provider
from watchkeeper.tracing.ids import RandomIds
from watchkeeper.tracing.propagation import global_propagator
from watchkeeper.tracing.recent import recent
from watchkeeper.tracing.redaction import redact_by
from watchkeeper.tracing.sampling import always_off, sampler_of
from watchkeeper.tracing.span import Span
from watchkeeper.values import told

CONSOLE = "traces_console"  # the lane to the terminal


class Tracing(Part):
    """Spans."""

    def __init__(self) -> None:
        self._flushing: threading.Thread | None = None  # the application's own processors
        self._installed: trace.TracerProvider | None = None  # whose spans ours are

    def lanes(self, wiring: Wiring) -> Iterable[Lane]:
        """One, whose batches are kept as recent traces too, also where they go no further."""
        recent.clear()
        target = wiring.options.export.get("traces", SignalOptions())
        if target.endpoint or wiring.sinks is None:
            encode = SpanEncoder(resource_field(wiring.resource)).encode
            redact = redact_by(wiring.options.logs.redaction)

            def seen(spans: list[Span]) -> None:
                recent.file(map(redact, spans))

            yield wiring.lane("traces", *outlet_of("traces", target, wiring.resource, encode), seen=seen)
        stream = wiring.options.traces.console
        if stream != "off" and wiring.sinks is None:
            console = Console(wiring.resource, stream)
            clean = redact_by(wiring.options.logs.redaction)
            yield wiring.lane(CONSOLE, console, lambda spans: console.encode([clean(span) for span in spans]))

    def wire(self, wiring: Wiring) -> None:
        """Makes our provider the global one, unless the application has installed another."""
        sink: Callable[[Span], None] = _discard
        redact = redact_by(wiring.options.logs.redaction)
        if wiring.sinks is not None:
            captured = wiring.sinks.spans

            def sink(span: Span) -> None:
                captured(redact(span))
        else:
            offers = [wiring.lanes[name].queue.offer for name in ("traces", CONSOLE) if name in wiring.lanes]
            sink = _to_all(offers)
        provider.wire(
            sink,
            sampler_of(wiring.options.traces, wiring.clock),
            wiring.ids,
            wiring.clock,
            dict(wiring.resource),
            redact,
        )
        if isinstance(_global_provider(), trace.ProxyTracerProvider | None):
            # Not by `set_tracer_provider`, which works once: an application that installs its own later still can.
            trace._TRACER_PROVIDER = provider  # noqa: SLF001
        self.adopt()
        global_propagator.install(wiring.options.propagators)

    def adopt(self) -> None:
        """A provider that the application has installed keeps every span, ours included: one trace, one exporter."""
        installed = trace.get_tracer_provider()
        if installed is not self._installed:
            self._installed = installed
            Origin.tracer = installed.get_tracer(SCOPE, VERSION)

    def unwire(self, timeout_seconds: float) -> None:
        """Spans are made no more; processors begin to send theirs."""
        self._flushing = provider.begin_flush(timeout_seconds)
        provider.wire(_discard, always_off, provider.ids, SYSTEM_CLOCK)
        global_propagator.uninstall()

    def flush(self, timeout_seconds: float) -> None:
        """Waits for the processors, if they were told to."""
        if self._flushing is not None:
            self._flushing.join(timeout_seconds)

    def after_fork(self) -> None:
        """A child makes ids of its own."""
        self._flushing = None
        if isinstance(provider.ids, RandomIds):
            provider.ids.reseed()


def _global_provider() -> trace.TracerProvider | None:
    """OpenTelemetry's, None where OTEL_PYTHON_TRACER_PROVIDER names one that cannot be had."""
    try:
        return trace.get_tracer_provider()
    except Exception as error:  # noqa: BLE001  # StopIteration, and whatever the provider's own code raises
        boundary.say_once(
            OTEL_PYTHON_TRACER_PROVIDER,
            f"{OTEL_PYTHON_TRACER_PROVIDER} names a provider that cannot be had ({told(error)}): Watchkeeper's is used",
        )
        return None


def _to_all(offers: Sequence[Callable[[Span], None]]) -> Callable[[Span], None]:
    if len(offers) == 1:
        return offers[0]  # what nearly everybody has

    def offer(span: Span) -> None:
        for each in offers:
            each(span)

    return offer


def _discard(_span: Span) -> None:
    pass


tracing = Tracing()
