"""What applications call: registering checks, and asking for the service's health."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from watchkeeper.environment import ConfigurationError
from watchkeeper.health.monitor import monitor
from watchkeeper.health.options import LONGEST_TIMEOUT
from watchkeeper.health.registry import checked, registry
from watchkeeper.health.results import HealthReport

Function = TypeVar("Function", bound=Callable[[], Any])


def health_check(
    name: str,
    *,
    critical: bool = False,
    timeout: float = LONGEST_TIMEOUT,
    weight: float | None = None,
    interval: float | None = None,
) -> Callable[[Function], Function]:
    """Registers a function, sync or async, that checks something the service needs. The function stays as it is.

    It is unhealthy if it raises, returns False or takes longer than `timeout` seconds (5 at most); None and True are
    healthy; a `HealthResult`, or a dict with `status` and `message`, says it in detail. A `critical` check that is
    unhealthy makes the service unhealthy and not ready; another one degrades it. `weight` is its part of the score (3
    where critical, else 1), `interval` the seconds for which a result is good (`health.interval_seconds`).

    A sync function runs in a thread of its own, an async one on the application's event loop. Works before
    `configure`, and begins with it. Raises ConfigurationError, where it is written, for values that cannot be.

    Example:
        >>> import watchkeeper as wk
        >>> @wk.health_check("payments", critical=True, timeout=2.0)
        ... async def payments():
        ...     return await gateway.ping()
    """
    if callable(name):
        raise ConfigurationError('health_check is given a name: write @health_check("payments") above the function')

    def register(function: Function) -> Function:
        registry.add(checked(name, function, critical=critical, timeout=timeout, weight=weight, interval=interval))
        return function

    return register


def health(*, fresh: bool = False) -> HealthReport:
    """The service's health, as the checks found it last. Costs nothing: they run in the background.

    `fresh` runs them all now and waits for them, up to six seconds: not on an event loop. Before `configure`, all
    checks are pending.

    Example:
        >>> import watchkeeper as wk
        >>> wk.health().status
        'healthy'
    """
    if fresh:
        monitor.refresh()
    return monitor.report()


def drain() -> None:
    """Readiness fails from now on, so that no new requests are sent here; those under way are not touched.

    ASGI servers that tell of their shutdown (lifespan) make this call needless. Call it from whatever else hears first
    that the process is to end.

    Example:
        >>> import watchkeeper as wk
        >>> wk.drain()
    """
    monitor.drain()
