"""Another service over HTTP: its status and its latency, with retries while there is time and a circuit breaker."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import urllib3

from watchkeeper.environment import ConfigurationError, check_number
from watchkeeper.health.breaker import CircuitBreaker
from watchkeeper.health.checks.urls import url_in
from watchkeeper.health.options import LONGEST_TIMEOUT
from watchkeeper.health.registry import checked, registry
from watchkeeper.health.results import HealthResult
from watchkeeper.health.running import failed

SLOW_SECONDS = 1.0
RETRIES = 2
FIRST_BACKOFF_SECONDS = 0.1
OK_STATUSES = range(200, 300)
_SERVER_ERROR = 500


class _Try(NamedTuple):
    """One attempt: a status (0: none came), how long it took, and what went wrong."""

    status: int
    seconds: float
    error: BaseException | None


class Http:
    """Asks for a URL. Unhealthy if what comes is not among `statuses`, or nothing comes; degraded if it comes late."""

    def __init__(
        self,
        url: str,
        statuses: Collection[int] = OK_STATUSES,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = LONGEST_TIMEOUT,
        slow_seconds: float = SLOW_SECONDS,
        retries: int = RETRIES,
        breaker: CircuitBreaker | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url
        self._statuses = statuses
        # A connection of its own each time: whether one can be made is part of the question.
        self._headers = {"user-agent": "watchkeeper-health", "connection": "close", **(headers or {})}
        self._timeout = timeout_seconds
        self._slow = slow_seconds
        self._retries = retries
        self._breaker = breaker or CircuitBreaker()
        self._sleep = sleep

    def __call__(self) -> HealthResult:
        """The result of the last attempt."""
        wait = self._breaker.waits()
        if wait:
            return HealthResult("unhealthy", f"not asked for {wait:.0f} s more, after it has failed again and again")
        attempt, attempts = self._tried()
        ok = attempt.error is None and attempt.status in self._statuses
        if ok:
            self._breaker.succeeded()
        else:
            self._breaker.failed()
        details = {"status": attempt.status, "latency_seconds": round(attempt.seconds, 6), "attempts": attempts}
        if attempt.error is not None:
            return HealthResult("unhealthy", failed(_cause(attempt.error)).message, details)
        if not ok:
            return HealthResult("unhealthy", f"answered {attempt.status}", details)
        if attempt.seconds >= self._slow:
            message = f"answered after {attempt.seconds:.3f} s, the limit is {self._slow:g} s"
            return HealthResult("degraded", message, details)
        return HealthResult(details=details)

    def _tried(self) -> tuple[_Try, int]:
        """The last attempt, and how many there were: what may pass by itself is tried again while there is time."""
        end = time.monotonic() + self._timeout
        for attempt in range(1, self._retries + 2):
            tried = self._try(max(0.001, end - time.monotonic()))
            passing = tried.error is not None or tried.status >= _SERVER_ERROR
            backoff = FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1) * (0.5 + random.random())  # noqa: S311  # jitter
            if not passing or attempt > self._retries or time.monotonic() + backoff >= end:
                break
            self._sleep(backoff)
        return tried, attempt

    def _try(self, seconds: float) -> _Try:
        started = time.perf_counter()
        try:
            with urllib3.PoolManager(num_pools=1, retries=False) as manager:
                response = manager.request(
                    "GET",
                    self._url,
                    headers=self._headers,
                    timeout=urllib3.Timeout(total=seconds),
                    redirect=False,
                    preload_content=False,  # the status says it, and a body may never end
                )
                response.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return _Try(0, time.perf_counter() - started, error)
        return _Try(response.status, time.perf_counter() - started, None)


def check_http(
    url: str,
    name: str,
    *,
    critical: bool = False,
    timeout: float = LONGEST_TIMEOUT,
    weight: float | None = None,
    interval: float | None = None,
    slow_seconds: float = SLOW_SECONDS,
    statuses: Collection[int] = OK_STATUSES,
    headers: Mapping[str, str] | None = None,
    retries: int = RETRIES,
) -> None:
    """Checks another service by a GET of `url`, answered with one of `statuses`. Redirects are not followed.

    No answer and a 5xx are tried again `retries` times while `timeout` lasts. After five failed checks in a row the
    service is left alone for 30 seconds. `critical`, `timeout`, `weight` and `interval` are those of `health_check`.

    Example:
        >>> import watchkeeper as wk
        >>> wk.check_http("https://billing.internal/health/ready", "billing", critical=True)
    """
    parts = url_in(url, "check_http")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            f"check_http got a URL of {parts.scheme!r} for {name!r}: it must be an http:// or https:// URL with a host"
        )
    check_number(f"slow_seconds of health check {name!r}", slow_seconds)
    check_number(f"retries of health check {name!r}", retries)
    given: Any = statuses  # whatever its annotation says
    if not isinstance(given, Collection) or not all(isinstance(status, int) for status in given):
        raise ConfigurationError(f"statuses of health check {name!r} is {statuses!r}: give several, such as (200, 204)")
    if headers is not None and not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers of health check {name!r} is a {type(headers).__name__}: give values by name")
    function = Http(url, statuses, headers=headers, timeout_seconds=timeout, slow_seconds=slow_seconds, retries=retries)
    registry.add(
        checked(
            name,
            function,
            critical=critical,
            timeout=timeout,
            weight=weight,
            interval=interval,
            secrets=(unquote(parts.password or ""),),
        )
    )


def _cause(error: BaseException) -> Any:
    """What lies below urllib3's own exceptions, which name objects by their addresses."""
    for _ in range(8):
        below = error.__cause__ or error.__context__
        if below is None:
            break
        error = below
    return error
