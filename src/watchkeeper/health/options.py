"""Options of health: where it is told, to whom how much, and which checks come by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from watchkeeper.environment import ConfigurationError, check_choice, check_within, list_in, number_in

Details = Literal["always", "names", "never"]
BUILT_IN = ("memory", "disk", "event_loop", "metrics_pipeline", "log_pipeline")
LONGEST_TIMEOUT = 5.0  # seconds a check may take


@dataclass(frozen=True)
class HealthOptions:
    """How the service's health is checked and told.

    `details` says what `/health/status` and `/health/checks/…` show: `always` everything, `names` each check's name and
    status but neither messages nor measurements (they name hosts and versions), `never` only the whole's status.

    Example:
        >>> HealthOptions(path="/internal/health", details="always", interval_seconds=30)
    """

    path: str = "/health"  # what the endpoints' paths begin with; empty: no endpoints
    details: Details = "names"
    checks: tuple[str, ...] = BUILT_IN  # those that need no registration
    interval_seconds: float = 10.0  # for which a result is good; a check may have an interval of its own

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> HealthOptions:
        """What a deployment asks for. Raises ConfigurationError that names the variable it cannot read."""
        path = environ.get("WATCHKEEPER_HEALTH_PATH", cls.path).strip()
        details = environ.get("WATCHKEEPER_HEALTH_DETAILS", "").strip().lower() or cls.details
        check_choice("WATCHKEEPER_HEALTH_DETAILS", details, Details)
        names = list_in(environ, "WATCHKEEPER_HEALTH_CHECKS")
        checks = tuple(name for name in names if name != "none") if names else cls.checks
        _check_names("WATCHKEEPER_HEALTH_CHECKS", checks)
        interval_ms = number_in(environ, "WATCHKEEPER_HEALTH_INTERVAL", cls.interval_seconds * 1e3, float)
        return cls("" if path == "off" else path, details, checks, interval_ms / 1e3)  # type: ignore[arg-type]  # checked

    def validate(self) -> None:
        """Raises ConfigurationError for the first option that cannot work."""
        if self.path and (not self.path.startswith("/") or self.path.endswith("/")):
            raise ConfigurationError(
                f"health.path is {self.path!r}: it must start with / and not end with one (or be empty for none)"
            )
        check_choice("health.details", self.details, Details)
        _check_names("health.checks", self.checks)
        check_within("health.interval_seconds", self.interval_seconds, 0.1, 86_400)


def _check_names(name: str, checks: tuple[str, ...]) -> None:
    for check in checks:
        if check not in BUILT_IN:
            raise ConfigurationError(f"{name} has {check!r}: use some of {', '.join(BUILT_IN)}, or none")
