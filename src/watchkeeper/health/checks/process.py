"""Registering the checks of the process and its machine with limits of one's own."""

from __future__ import annotations

from watchkeeper.environment import ConfigurationError, check_number
from watchkeeper.health.checks import disk, memory
from watchkeeper.health.options import LONGEST_TIMEOUT
from watchkeeper.health.registry import checked, registry


def check_memory(
    name: str = "memory",
    *,
    warning: float = memory.WARNING,
    limit: float = memory.CRITICAL,
    critical: bool = False,
    weight: float | None = None,
    interval: float | None = None,
) -> None:
    """Checks memory with limits of your own: degraded from the share `warning` on, unhealthy from `limit` on.

    Both the system's use and the process's count, as shares of what there is for them: the machine's memory, or a
    container's. Replaces the check of that name that comes by itself.

    Example:
        >>> import watchkeeper as wk
        >>> wk.check_memory(warning=0.7, limit=0.85)
    """
    _check_limits(name, warning, limit)
    function = memory.Memory(warning, limit)
    registry.add(
        checked(
            name,
            function,
            critical=critical,
            timeout=LONGEST_TIMEOUT,
            weight=weight,
            interval=interval,
            kind="system",
        )
    )


def check_disk(
    *paths: str,
    name: str = "disk",
    warning: float = disk.WARNING,
    limit: float = disk.CRITICAL,
    critical: bool = False,
    weight: float | None = None,
    interval: float | None = None,
) -> None:
    """Checks the file systems that `paths` are on (without any: that of /), space and inodes.

    Degraded from the share `warning` on, unhealthy from `limit` on. Replaces the check of that name that comes by
    itself.

    Example:
        >>> import watchkeeper as wk
        >>> wk.check_disk("/", "/var/lib/shop", limit=0.95)
    """
    _check_limits(name, warning, limit)
    function = disk.Disk(*paths, warning=warning, critical=limit)
    registry.add(
        checked(
            name,
            function,
            critical=critical,
            timeout=LONGEST_TIMEOUT,
            weight=weight,
            interval=interval,
            kind="system",
        )
    )


def _check_limits(name: str, warning: float, limit: float) -> None:
    check_number(f"the warning of health check {name!r}", warning)
    check_number(f"the limit of health check {name!r}", limit)
    if not 0 < warning <= limit <= 1:
        raise ConfigurationError(
            f"the limits of health check {name!r} are {warning} and {limit}: they are shares, above 0 and up to 1,"
            " the warning first, such as warning=0.7, limit=0.85"
        )
