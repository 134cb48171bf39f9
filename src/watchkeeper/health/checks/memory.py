"""Memory: how much of what this process may have is used, by it and by everybody.

What it may have is the least of the machine's memory and the limits of the control groups it is in (both versions): a
container's limit is the machine's end. What the kernel can take back at once (cached files) is not used, as kubelet
counts it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from watchkeeper.health.results import HealthResult, above, worst

WARNING, CRITICAL = 0.8, 0.9
_NO_LIMIT = 1 << 60  # version 1 says so by a number near 2^63


class Memory:
    """Degraded from the share `warning` on, unhealthy from `critical` on. `root` is where /proc and /sys are."""

    def __init__(self, warning: float = WARNING, critical: float = CRITICAL, root: Path = Path("/")) -> None:
        self._warning = warning
        self._critical = critical
        self._root = root

    def __call__(self) -> HealthResult:
        """The system's use and the process's, in bytes and as shares of the limit."""
        try:
            total, available = self._machine()
            resident = self._resident()
        except (OSError, ValueError, KeyError):
            return HealthResult(message="memory cannot be read on this system")
        limit, used = total, total - available
        for group_limit, group_used in self._groups():
            if group_limit < limit or (group_limit == limit and group_used > used):
                limit, used = group_limit, group_used
        shares = {"system": used / limit, "process": resident / limit}
        details = {
            "limit_bytes": limit,
            "system_bytes": used,
            "system": round(shares["system"], 4),
            "process_bytes": resident,
            "process": round(shares["process"], 4),
        }
        found = [above(f"{name} memory", share, self._warning, self._critical) for name, share in shares.items()]
        return worst(HealthResult(details=details), *found)

    def _machine(self) -> tuple[int, int]:
        """(total, available) bytes."""
        lines = (self._root / "proc/meminfo").read_text().splitlines()
        fields = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        return fields["MemTotal"], fields["MemAvailable"]

    def _resident(self) -> int:
        return int((self._root / "proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _groups(self) -> Iterator[tuple[int, int]]:
        """(limit, used) bytes of each control group above this process that has a limit."""
        try:
            lines = (self._root / "proc/self/cgroup").read_text().splitlines()
        except OSError:
            return
        for line in lines:
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if number == "0":
                names = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
            elif "memory" in controllers.split(","):
                names = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            else:
                continue
            mount, limit_file, used_file, cached = names
            base = self._root / mount
            own = Path(path.lstrip("/"))
            # Inside of a container the own group is often the mount's root, whatever the path says.
            for folder in (own, *own.parents):
                found = _group(base / folder, limit_file, used_file, cached)
                if found is not None:
                    yield found


def _group(folder: Path, limit_file: str, used_file: str, cached: str) -> tuple[int, int] | None:
    try:
        limit = int((folder / limit_file).read_text())  # "max" is no number: no limit
        if not 0 < limit < _NO_LIMIT:
            return None
        used = int((folder / used_file).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return limit, max(0, used - int(stat.get(cached, 0)))
    except (OSError, ValueError):
        return None
