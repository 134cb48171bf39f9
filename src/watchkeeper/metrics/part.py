"""Metrics as a part of the SDK: the registry is read when it is due, and pushed; scrapes read it whenever they like."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from watchkeeper.endpoints import endpoints
from watchkeeper.export.boundary import DROPPED
from watchkeeper.export.exporter import Lane
from watchkeeper.export.otlp.metrics import MetricEncoder
from watchkeeper.export.otlp.resource import resource_field
from watchkeeper.export.outlets import outlet_of
from watchkeeper.export.transport import Payload
from watchkeeper.metrics.declare import declarations
from watchkeeper.metrics.default_labels import WithLabels
from watchkeeper.metrics.exposition import Exposition
from watchkeeper.metrics.http import http_metrics
from watchkeeper.metrics.otel import meter_provider
from watchkeeper.metrics.runtime import runtime
from watchkeeper.parts import Part, Wiring


class Metrics(Part):
    """Declarations, what the runtime tells, and their two ways out."""

    def __init__(self) -> None:
        self._paths: tuple[str, ...] = ()

    def lanes(self, wiring: Wiring) -> Iterable[Lane]:
        """One, without a queue: `collect` fills it."""
        target = wiring.options.export.get("metrics")
        self._lane: Lane | None = None
        if target is None or not target.endpoint:
            return ()
        self._wiring = wiring
        self._encoder = MetricEncoder(resource_field(wiring.resource), time.time_ns())
        self._lane = wiring.lane("metrics", *outlet_of("metrics", target, wiring.resource, lambda _items: b""))
        return (self._lane,)

    def wire(self, wiring: Wiring) -> None:
        """Takes the limits over."""
        options = wiring.options.metrics
        declarations.label_limit = options.label_limit
        declarations.default_labels = options.default_labels
        DROPPED.labels("metrics", "label_limit")  # at zero from the start, as those of the lanes are
        runtime.install()
        meter_provider.install()
        self._expose(options.path)

    def every_round(self) -> None:
        """Counts the requests that wait to be counted."""
        http_metrics.settle()

    def collect(self) -> None:
        """Puts the registry's present state on its way, in place of an older one that could not be sent."""
        lane = self._lane
        if lane is None:
            return
        options = self._wiring.options.metrics
        with declarations.reading:
            families = list(WithLabels(declarations.registry, options.default_labels).collect())
        body = self._encoder.encode(families, self._wiring.clock.wall_ns())
        lane.payloads.clear()
        if body:
            lane.payloads.append(Payload(body, sum(len(family.samples) for family in families)))

    def unwire(self, timeout_seconds: float) -> None:  # noqa: ARG002
        """No timer and no callback of the interpreter is left."""
        runtime.uninstall()
        self._expose("")

    def locks(self) -> Iterable[threading.Lock]:
        """Of the registry."""
        return (declarations.reading, http_metrics.settling())

    def after_fork(self) -> None:
        """A child counts its own, from zero."""
        declarations.reading = threading.Lock()
        declarations.after_fork()
        http_metrics.after_fork()
        meter_provider.after_fork()
        runtime.after_fork()

    def _expose(self, path: str) -> None:
        """Answers at that path, also with a slash at its end; nowhere if it is empty."""
        for each in self._paths:
            endpoints.remove(each)
        self._paths = (path, f"{path}/") if path and not path.endswith("/") else (path,) if path else ()
        for each in self._paths:
            endpoints.add(each, Exposition())


metrics = Metrics()
