"""aiomysql: `execute`, `executemany` and `callproc` of all cursors, and its pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from watchkeeper.databases.pools import PoolState, pools
from watchkeeper.databases.queries import Query, batch_of, query_of
from watchkeeper.databases.targets import MYSQL, mysql_target, target
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib

_patches = Patches()


def install() -> None:
    """Watches all cursors and pools, those that exist too."""
    if _patches:
        return
    for name, wrapper in (("execute", _execute), ("executemany", _executemany), ("callproc", _callproc)):
        _patches.wrap("aiomysql.cursors", f"Cursor.{name}", wrapper)
    _patches.wrap("aiomysql.pool", "Pool.acquire", _acquire)


def uninstall() -> None:
    """Gives aiomysql back as it was."""
    _patches.undo()


def _query(cursor: Any, sql: object, batch: int | None = None) -> Query | None:
    connection = cursor.connection
    if connection is None:  # a closed cursor is about to say so
        return None
    traced = not instrumented_by_contrib("aiomysql", "AioMySQLInstrumentor")
    return query_of("aiomysql", connection, mysql_target, sql, batch=batch, traced=traced)


async def _run(query: Query | None, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if query is None:
        return await wrapped(*args, **kwargs)
    with query:
        return await wrapped(*args, **kwargs)


async def _execute(wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return await _run(_query(cursor, args[0] if args else kwargs.get("query")), wrapped, args, kwargs)


async def _executemany(wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    batch = batch_of(args[1] if len(args) > 1 else kwargs.get("args"))
    return await _run(_query(cursor, args[0] if args else kwargs.get("query"), batch), wrapped, args, kwargs)


async def _callproc(wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = args[0] if args else kwargs.get("procname")
    return await _run(_query(cursor, f"CALL {name}"), wrapped, args, kwargs)


def _acquire(wrapped: Callable[..., Any], pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        if not pools().tracks(pool):
            told = pool._conn_kwargs  # noqa: SLF001  # a pool says so nowhere else
            address = told.get("unix_socket") or told.get("host") or "localhost"
            namespace = told.get("db") or told.get("database") or ""
            name = target(MYSQL, str(address), told.get("port"), str(namespace)).pool_name
            pools().track(pool, name, _pool_state)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("aiomysql", failure)
    return wrapped(*args, **kwargs)


def _pool_state(pool: Any) -> PoolState | None:
    if pool.closed:
        return None
    size, idle = pool.size, pool.freesize
    waiting = len(getattr(pool._cond, "_waiters", ()))  # noqa: SLF001  # as above
    return PoolState(pool, pool.maxsize or size, size - idle, idle, waiting)
