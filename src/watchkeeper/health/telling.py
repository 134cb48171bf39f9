"""What the endpoints answer.

Bodies have the shape of draft-inadarei-api-health-check-06 (`application/health+json`): pass, warn and fail are
healthy, degraded and unhealthy. Status codes are what Kubernetes wants: 200, or 503 for whoever should not be sent
traffic (ready), or is not up yet (startup). Nothing that a check finds makes a process not alive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from watchkeeper.endpoints import Answer, Asked, Endpoint
from watchkeeper.health.metrics import HealthMetrics
from watchkeeper.health.monitor import Monitor
from watchkeeper.health.options import Details
from watchkeeper.health.results import CheckReport, Snapshot, Status
from watchkeeper.logging.line import json_of

CONTENT_TYPE = "application/health+json"
OK, UNAVAILABLE = 200, 503
WORDS: Mapping[Status, str] = {"healthy": "pass", "degraded": "warn", "unhealthy": "fail"}


class Told(Endpoint):
    """Answers from the snapshot: rendered once after each change, and sent as it is until the next."""

    yields = True  # to a route of the application's own

    def __init__(self, monitor: Monitor, render: Callable[[Snapshot], Answer], *, needs_results: bool) -> None:
        self._monitor = monitor
        self._render = render
        self._needs_results = needs_results  # rather waits for the first ones than speaks without
        self._rendered: tuple[Snapshot | None, Answer] = (None, Answer(OK, CONTENT_TYPE, b""))

    def now(self, asked: Asked) -> Answer | None:  # noqa: ARG002
        """The answer, unless the first results are still to come."""
        self._monitor.begin()
        snapshot = self._monitor.snapshot
        if self._needs_results and snapshot.report.pending and self._monitor.is_fresh():
            return None
        return self._of(snapshot)

    def answer(self, asked: Asked) -> Answer:  # noqa: ARG002
        """The answer, once every check has had a result or has had its time."""
        self._monitor.wait()
        return self._of(self._monitor.snapshot)

    def _of(self, snapshot: Snapshot) -> Answer:
        rendered, answer = self._rendered
        if rendered is not snapshot:
            answer = self._render(snapshot)
            self._rendered = (snapshot, answer)
        return answer


class Exposed(Endpoint):
    """Health as Prometheus's text, or OpenMetrics."""

    yields = True

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._registry = CollectorRegistry()
        self._registry.register(HealthMetrics(lambda: monitor.snapshot.report))

    def answer(self, asked: Asked) -> Answer:
        """The metrics, once every check has had a result or has had its time."""
        self._monitor.begin()
        if self._monitor.is_fresh():
            self._monitor.wait()
        encode, content_type = choose_encoder(asked.accept)
        return Answer(OK, content_type, encode(self._registry))


class Teller:
    """Renders snapshots, as much of them as `details` lets out."""

    def __init__(self, details: Details, facts: Mapping[str, str]) -> None:
        self._details = details
        self._facts = facts  # of the service: version, serviceId …

    def overall(self, snapshot: Snapshot) -> Answer:
        """`/health`: the whole in two words."""
        report = snapshot.report
        return _answer(report.status, {"score": report.score})

    def live(self, _snapshot: Snapshot) -> Answer:
        """`/health/live`: whoever can answer this is alive."""
        return _answer("healthy", {})

    def startup(self, snapshot: Snapshot) -> Answer:
        """`/health/startup`: fails until the process is up, and never again."""
        return _answer("healthy", {}) if snapshot.started else _answer("unhealthy", {"output": "starting"})

    def ready(self, snapshot: Snapshot) -> Answer:
        """`/health/ready`: whether to send requests here."""
        report = snapshot.report
        if snapshot.draining:
            return _answer("unhealthy", {"output": "shutting down"})
        if not snapshot.started:
            return _answer("unhealthy", {"output": "starting"})
        if report.status != "unhealthy":
            return _answer("healthy", {})
        failing = [check.name for check in report.checks.values() if check.critical and check.status == "unhealthy"]
        named = f"unhealthy: {', '.join(failing)}" if self._details != "never" else "unhealthy"
        return _answer("unhealthy", {"output": named})

    def status(self, snapshot: Snapshot) -> Answer:
        """`/health/status`: everything that may be told."""
        report = snapshot.report
        more: dict[str, Any] = {"score": report.score}
        if self._details == "always":
            more = {**self._facts, **more}
        if self._details != "never":
            more["checks"] = {name: [self._check(check)] for name, check in report.checks.items()}
            if report.pending:
                more["notes"] = [f"no result yet: {', '.join(report.pending)}"]
        return _answer(report.status, more)

    def check(self, name: str) -> Callable[[Snapshot], Answer]:
        """`/health/checks/<name>`: one check."""

        def render(snapshot: Snapshot) -> Answer:
            check = snapshot.report.checks.get(name)
            if check is None:
                return _answer("unhealthy", {"output": "no result yet"})
            return _answer(check.status, self._check(check) if self._details != "never" else {})

        return render

    def _check(self, check: CheckReport) -> dict[str, Any]:
        body: dict[str, Any] = {
            "status": WORDS[check.status],
            "componentType": check.kind,
            "observedValue": round(check.duration_seconds * 1e3, 3),
            "observedUnit": "ms",
            "time": datetime.fromtimestamp(check.time_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
            "critical": check.critical,
            "weight": check.weight,
        }
        if self._details == "always":
            if check.message:
                body["output"] = check.message
            if check.details:
                body["details"] = check.details
        return body


def _answer(status: Status, more: Mapping[str, Any]) -> Answer:
    body = {"status": WORDS[status], **more}
    return Answer(UNAVAILABLE if status == "unhealthy" else OK, CONTENT_TYPE, json_of(body))
