"""Health as a part of the SDK: checks run while a client does, and are told at its paths."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace

from watchkeeper.endpoints import Endpoint, endpoints
from watchkeeper.health.checks.built_in import built_in
from watchkeeper.health.metrics import HealthMetrics
from watchkeeper.health.monitor import monitor
from watchkeeper.health.registry import Check, registry
from watchkeeper.health.results import Change, HealthResult
from watchkeeper.health.telling import Exposed, Teller, Told
from watchkeeper.logging.levels import ERROR, INFO, WARNING
from watchkeeper.logging.pipeline import pipeline
from watchkeeper.logging.redaction import REDACTED, Redaction
from watchkeeper.metrics.declare import declarations
from watchkeeper.options import ServiceOptions
from watchkeeper.parts import Part, Wiring
from watchkeeper.values import fields_snapshot, text_of

LOGGER = "watchkeeper.health"


class Health(Part):
    """Checks, the thread that runs them, and the endpoints."""

    def __init__(self) -> None:
        self._path = ""
        self._teller: Teller | None = None
        self._told: list[str] = []  # paths
        registry.listeners.append(self._tell_checks)

    def wire(self, wiring: Wiring) -> None:
        """Begins to check, as the options say."""
        options = wiring.options.health
        self._stop_telling()
        self._path = options.path
        if self._path:
            self._teller = Teller(options.details, _facts(wiring.options.service))
            self._tell(self._teller)
        registry.use_built_in(built_in(options.checks, wiring.lanes))
        declarations.computed("watchkeeper_health", lambda: HealthMetrics(lambda: monitor.snapshot.report))
        redaction = Redaction(replace(wiring.options.logs.redaction, enabled=True))
        monitor.start(options.interval_seconds, wiring.clock, lambda found, check: _clean(redaction, found, check), say)

    def adopt(self) -> None:
        """Notes the application's event loop, where this is told in one."""
        monitor.note_loop()

    def unwire(self, timeout_seconds: float) -> None:
        """Starts no check any more, and leaves the paths to the application."""
        self._stop_telling()
        monitor.stop(timeout_seconds)
        registry.use_built_in(())

    def locks(self) -> Iterable[threading.Lock]:
        """Of the checks under way, too: a child would inherit their connections half-way."""
        return monitor.locks()

    def forked(self) -> None:
        """Leaves the checks to the child, unless this process serves."""
        monitor.forked()

    def after_fork(self) -> None:
        """A child checks for itself."""
        registry.after_fork()
        monitor.after_fork()

    def _tell(self, teller: Teller) -> None:
        path = self._path
        for below, render, needs_results in (
            ("", teller.overall, True),
            ("/live", teller.live, False),
            ("/ready", teller.ready, False),
            ("/startup", teller.startup, False),
            ("/status", teller.status, True),
        ):
            self._add(path + below, Told(monitor, render, needs_results=needs_results))
        self._add(f"{path}/metrics", Exposed(monitor))
        self._tell_checks()

    def _tell_checks(self) -> None:
        """A path for each check that is registered, now or later."""
        teller = self._teller
        if teller is None:
            return
        prefix = f"{self._path}/checks/"
        wanted = {prefix + name: name for name in registry.checks()}
        for path in [each for each in self._told if each.startswith(prefix) and each not in wanted]:
            self._told.remove(path)
            endpoints.remove(path)
        for path, name in wanted.items():
            if path not in self._told:
                self._add(path, Told(monitor, teller.check(name), needs_results=True))

    def _add(self, path: str, endpoint: Endpoint) -> None:
        self._told.append(path)
        endpoints.add(path, endpoint)

    def _stop_telling(self) -> None:
        self._teller = None
        for path in self._told:
            endpoints.remove(path)
        self._told = []


def say(change: Change) -> None:
    """Says in the log what became of a check: whoever is on call finds the reason there, whatever endpoints hide."""
    check = change.now
    level = INFO if check.status == "healthy" else ERROR if check.critical and check.status == "unhealthy" else WARNING
    reason = f": {check.message}" if check.message else ""
    fields = {"check": check.name, "status": check.status, "before": change.before, "critical": check.critical}
    pipeline.emit(level, LOGGER, f"health check {check.name} is {check.status}{reason}", fields)


def _clean(redaction: Redaction, found: HealthResult, check: Check) -> HealthResult:
    """A result without secrets, which shares nothing with the application."""
    try:
        message = text_of(found.message)
        for secret in check.secrets:
            message = message.replace(secret, REDACTED)
        details = redaction.fields(fields_snapshot(found.details))
        return HealthResult(found.status, redaction.text(message), details)
    except Exception as error:  # noqa: BLE001  # an application's mapping
        return HealthResult("unhealthy", f"its result cannot be read: {type(error).__name__}")


def _facts(service: ServiceOptions) -> dict[str, str]:
    facts = {"serviceId": service.name}
    if service.version:
        facts["version"] = service.version
    return facts


health = Health()
