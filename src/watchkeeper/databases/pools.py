"""What pools of connections are like, read when somebody scrapes: nothing happens when a connection is taken or given.

A pool is known from the first statement (or, of aiomysql, the first connection) that it is used for. Nothing here keeps
one alive.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from watchkeeper.export.boundary import boundary
from watchkeeper.metrics.declare import OTHER, declarations

MOST_NAMES = 100  # pools of further databases are told together, as __other__
_STATES = {
    "size": "as many as there may be",
    "active": "in use",
    "idle": "open and free",
    "waiting": "asked for and not yet given",
}


class PoolState(NamedTuple):
    """One pool now. `pool` is the pool itself, which several handles may lead to."""

    pool: object
    size: int
    active: int
    idle: int
    waiting: int


Read = Callable[[Any], PoolState | None]
"""The state of the pool that a handle leads to; None if there is none (any more)"""


class Pools(Collector):
    """`db_connection_pool_size`, `…_active`, `…_idle` and `…_waiting`, by `host:port/database`."""

    def __init__(self) -> None:
        self._handles: weakref.WeakKeyDictionary[Any, tuple[str, Read]] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def track(self, handle: Any, name: str, read: Read) -> None:
        """Tells of the pool that `handle` leads to, for as long as the handle lives."""
        with self._lock:
            self._handles[handle] = (name, read)

    def tracks(self, handle: Any) -> bool:
        """Whether it is known."""
        return handle in self._handles

    def renew_lock(self) -> None:
        """In a child of a fork: whoever held the lock is not there."""
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """The present states; of one name, added up."""
        sums: dict[str, list[int]] = {}
        for name, state in self._states():
            known = name in sums or len(sums) < MOST_NAMES
            total = sums.setdefault(name if known else OTHER, [0] * len(_STATES))
            for at, count in enumerate((state.size, state.active, state.idle, state.waiting)):
                total[at] += count
        if not sums:
            return
        for at, (state_name, meaning) in enumerate(_STATES.items()):
            family = GaugeMetricFamily(
                f"db_connection_pool_{state_name}", f"Connections of the pool: {meaning}", labels=["pool"]
            )
            for name, total in sums.items():
                family.add_metric([name], total[at])
            yield family

    def _states(self) -> Iterable[tuple[str, PoolState]]:
        with self._lock:
            handles = list(self._handles.items())
        seen = set()
        for handle, (name, read) in handles:
            try:
                state = read(handle)
            except Exception as failure:  # noqa: BLE001  # a pool of a version that we do not know, or closed just now
                boundary.failed("pools of connections", failure)
                continue
            if state is not None and id(state.pool) not in seen:
                seen.add(id(state.pool))
                yield name, state


def pools() -> Pools:
    """The one collector of pools, among the SDK's own metrics from the first pool on."""
    return declarations.computed("db_connection_pool", Pools)
