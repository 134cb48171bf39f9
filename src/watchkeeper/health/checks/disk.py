"""Disk: space and inodes of the file systems that paths are on."""

from __future__ import annotations

import os

from watchkeeper.health.results import HealthResult, above, worst

WARNING, CRITICAL = 0.8, 0.9


class Disk:
    """Degraded from the share `warning` on, unhealthy from `critical` on, of space or inodes, of any of the paths."""

    def __init__(self, *paths: str, warning: float = WARNING, critical: float = CRITICAL) -> None:
        self._paths = paths or ("/",)
        self._warning = warning
        self._critical = critical

    def __call__(self) -> HealthResult:
        """Each path's file system; a path that cannot be asked for is unhealthy."""
        return worst(*[self._look(path) for path in self._paths])

    def _look(self, path: str) -> HealthResult:
        try:
            stat = os.statvfs(path)
        except OSError as error:
            return HealthResult("unhealthy", f"{path}: {error.strerror}")
        used = stat.f_blocks - stat.f_bfree
        # As df has it: what is reserved for root is nobody's.
        space = _share(used, used + stat.f_bavail)
        inodes_used = stat.f_files - stat.f_ffree
        inodes = _share(inodes_used, inodes_used + stat.f_favail)
        details = {
            "used": round(space, 4),
            "free_bytes": stat.f_bavail * stat.f_frsize,
            "inodes_used": round(inodes, 4),
            "inodes_free": stat.f_favail,
        }
        return worst(
            HealthResult(details={path: details}),
            above(f"disk {path}", space, self._warning, self._critical),
            above(f"inodes of {path}", inodes, self._warning, self._critical),
        )


def _share(used: int, total: int) -> float:
    return used / total if total > 0 else 0.0  # file systems without a fixed number of inodes have none
