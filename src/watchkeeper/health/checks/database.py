"""A database: whether it answers, how fast, how far behind its replica is, how full its pool and how big it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from watchkeeper.environment import check_number
from watchkeeper.health.checks.asking import without_a_loop
from watchkeeper.health.checks.connections import Pool, Session, Target, is_async
from watchkeeper.health.options import LONGEST_TIMEOUT
from watchkeeper.health.registry import checked, registry
from watchkeeper.health.results import HealthResult, worst

SLOW_SECONDS = 0.5
LAG_SECONDS = 10.0
BUSY_POOL = 0.9
SIZE_SECONDS = 300.0  # between looks at the size, which large databases have to add up
_PING = "SELECT 1"
_LAG = {  # one row: whether this is a replica, and the seconds it (or a primary's slowest replica) is behind
    "postgresql": """
        SELECT pg_is_in_recovery() AS replica,
            CASE WHEN NOT pg_is_in_recovery()
                    THEN (SELECT EXTRACT(EPOCH FROM max(replay_lag)) FROM pg_stat_replication)
                WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                ELSE EXTRACT(EPOCH FROM now() - pg_last_xact_replay_timestamp()) END AS lag""",
    "mysql": "SHOW REPLICA STATUS",
    "mariadb": "SHOW REPLICA STATUS",
}
_SIZE_OF_TABLES = """
    SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS UNSIGNED) AS bytes
    FROM information_schema.tables WHERE table_schema = DATABASE()"""
_SIZE = {
    "postgresql": "SELECT pg_database_size(current_database()) AS bytes",
    "mysql": _SIZE_OF_TABLES,
    "mariadb": _SIZE_OF_TABLES,
}


class Database:
    """Asks a target. Unhealthy if it does not answer; degraded if it is slow or behind, or its pool is nearly empty."""

    def __init__(
        self,
        target: Target,
        slow_seconds: float = SLOW_SECONDS,
        lag_seconds: float = LAG_SECONDS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._target = target
        self._slow = slow_seconds
        self._lag = lag_seconds
        self._clock = clock
        self._size: int | None = None
        self._size_at = -SIZE_SECONDS

    def __call__(self) -> Any:
        """A result, or an awaitable of one where the target needs an event loop."""
        pool = self._target.pool()
        if pool is not None and 0 < pool.size <= pool.active:
            # Who took one more connection would wait with the requests, and make them wait longer.
            return HealthResult("degraded", f"all {pool.size} connections of the pool are in use", _told(pool))
        started = self._clock()
        opened = self._target.open()
        examined = self._examine(opened, started, pool)
        return examined if is_async(opened) else without_a_loop(examined)

    async def _examine(self, opened: Any, started: float, pool: Pool | None) -> HealthResult:
        async with self._target.session(opened) as session:
            connected = self._clock()
            await session.ask(_PING)
            answered = self._clock()
            found = [self._latency(connected - started, answered - connected)]
            found.append(await self._replication(session))
            size = await self._sized(session)
        if size is not None:
            found.append(HealthResult(details={"size_bytes": size}))
        return worst(*found, _pooled(pool))

    def _latency(self, connect: float, query: float) -> HealthResult:
        details = {"connect_seconds": round(connect, 6), "query_seconds": round(query, 6)}
        if query < self._slow:
            return HealthResult(details=details)
        return HealthResult("degraded", f"{_PING} took {query:.3f} s, the limit is {self._slow:g} s", details)

    async def _replication(self, session: Session) -> HealthResult:
        row = await _asked(session, _LAG.get(session.dialect))
        if not row:
            return HealthResult()  # none, or nobody told this user of it
        if "lag" in row:
            replica, lag = row["replica"], row["lag"]
        else:
            replica = True
            lag = row.get("Seconds_Behind_Master", row.get("Seconds_Behind_Source"))
            if lag is None:
                return HealthResult("degraded", "replication does not run", {"replica": True})
        if lag is None:
            return HealthResult(details={"replica": replica})
        details = {"replica": replica, "replication_lag_seconds": round(float(lag), 3)}
        if lag < self._lag:
            return HealthResult(details=details)
        return HealthResult("degraded", f"replication is {lag:.0f} s behind, the limit is {self._lag:g} s", details)

    async def _sized(self, session: Session) -> int | None:
        if self._clock() - self._size_at >= SIZE_SECONDS:
            self._size_at = self._clock()
            row = await _asked(session, _SIZE.get(session.dialect))
            self._size = int(row["bytes"]) if row and row["bytes"] is not None else None
        return self._size


def check_database(
    target: Any,
    name: str = "database",
    *,
    critical: bool = True,
    timeout: float = LONGEST_TIMEOUT,
    weight: float | None = None,
    interval: float | None = None,
    slow_seconds: float = SLOW_SECONDS,
    lag_seconds: float = LAG_SECONDS,
) -> None:
    """Checks a database: PostgreSQL and MariaDB (MySQL) in full, any other by `SELECT 1`.

    `target` is an SQLAlchemy engine (sync or async), a pool of psycopg, asyncpg or aiomysql, a function that opens a
    connection (which is closed again), or a URL. The query's time, the pool, replication lag and size are told; a query
    slower than `slow_seconds`, a lag above `lag_seconds` and a pool nine tenths in use are degraded. None is taken of a
    pool without a free connection. `critical`, `timeout`, `weight` and `interval` are those of `health_check`.

    Example:
        >>> import watchkeeper as wk
        >>> wk.check_database(engine)
        >>> wk.check_database("postgresql://shop@replica.example/shop", "replica", critical=False)
    """
    check_number(f"slow_seconds of health check {name!r}", slow_seconds)
    check_number(f"lag_seconds of health check {name!r}", lag_seconds)
    found = Target(target, timeout)
    registry.add(
        checked(
            name,
            Database(found, slow_seconds, lag_seconds),
            critical=critical,
            timeout=timeout,
            weight=weight,
            interval=interval,
            kind="datastore",
            secrets=(found.secret,),
        )
    )


async def _asked(session: Session, sql: str | None) -> Mapping[str, Any] | None:
    """The first row of what not every user may ask, and not every version knows."""
    if sql is None:
        return None
    try:
        return await session.ask(sql)
    except Exception:  # noqa: BLE001  # a driver's own kind
        await session.undo()
        return None


def _pooled(pool: Pool | None) -> HealthResult:
    if pool is None:
        return HealthResult()
    if not 0 < pool.size * BUSY_POOL <= pool.active:
        return HealthResult(details=_told(pool))
    return HealthResult("degraded", f"{pool.active} of {pool.size} connections of the pool are in use", _told(pool))


def _told(pool: Pool) -> dict[str, Any]:
    return {"pool_size": pool.size, "pool_active": pool.active}
