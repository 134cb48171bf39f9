"""asyncpg: statements of connections (a pool's too), of prepared statements, cursors and copies.

A cursor's statement ends when the cursor is open; what is fetched from it later is no statement of its own. What a pool
says to reset a connection is none either.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from watchkeeper.context import Context, attach, detach, get_current
from watchkeeper.databases.pools import PoolState, pools
from watchkeeper.databases.queries import Query, batch_of, query_of
from watchkeeper.databases.targets import POSTGRESQL, Target, target
from watchkeeper.integrations.calls import DATABASE
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib

_CONNECTION, _PREPARED, _CURSOR = "asyncpg.connection", "asyncpg.prepared_stmt", "asyncpg.cursor"

_patches = Patches()
_targets: weakref.WeakKeyDictionary[Any, Target] = weakref.WeakKeyDictionary()


def install() -> None:
    """Watches all connections, those that exist too."""
    if _patches:
        return
    for name in ("execute", "fetch", "fetchval", "fetchrow"):
        _patches.wrap(_CONNECTION, f"Connection.{name}", _execute)
    for name in ("executemany", "fetchmany"):
        _patches.wrap(_CONNECTION, f"Connection.{name}", _executemany)
    for name in ("copy_from_table", "copy_to_table", "copy_records_to_table"):
        _patches.wrap(_CONNECTION, f"Connection.{name}", _copy_table)
    _patches.wrap(_CONNECTION, "Connection.copy_from_query", _copy_query)
    _patches.wrap(_CONNECTION, "Connection.reset", _reset)
    for name in ("fetch", "fetchval", "fetchrow"):
        _patches.wrap(_PREPARED, f"PreparedStatement.{name}", _execute_prepared)
    for name in ("executemany", "fetchmany"):
        _patches.wrap(_PREPARED, f"PreparedStatement.{name}", _executemany_prepared)
    _patches.wrap(_CURSOR, "Cursor._init", _open_cursor)  # where both kinds are opened; there is no public place
    _patches.wrap(_CURSOR, "CursorIterator._bind_exec", _open_cursor)


def uninstall() -> None:
    """Gives asyncpg back as it was."""
    _patches.undo()


def _query(connection: Any, sql: object, **details: Any) -> Query | None:
    traced = not instrumented_by_contrib("asyncpg", "AsyncPGInstrumentor")
    return query_of("asyncpg", connection, _target_of, sql, traced=traced, **details)


def _target_of(connection: Any) -> Target:
    known = _targets.get(connection)
    if known is None:
        address = getattr(connection, "_addr", None)  # asyncpg says so nowhere else; a string is a socket's path
        host, port = address if isinstance(address, tuple) else (address or "", None)
        namespace = getattr(getattr(connection, "_params", None), "database", None) or ""
        known = _targets[connection] = target(POSTGRESQL, str(host), port, str(namespace))
        if _pool_of(connection) is not None:
            pools().track(connection, known.pool_name, _pool_state)  # a pool allows no weak reference, connections do
    return known


def _pool_of(connection: Any) -> Any:
    reference = getattr(
        connection, "_pool_holder", None
    )  # asyncpg 0.32 says so nowhere else, and before not even there
    holder = reference() if reference is not None else getattr(connection._proxy, "_holder", None)  # noqa: SLF001
    return getattr(holder, "_pool", None)


def _pool_state(connection: Any) -> PoolState | None:
    pool = _pool_of(connection)
    if pool is None or pool.is_closing():
        return None
    idle = pool.get_idle_size()
    waiting = len(getattr(pool._queue, "_getters", ()))  # noqa: SLF001  # as above
    return PoolState(pool, pool.get_max_size(), pool.get_size() - idle, idle, waiting)


async def _run(query: Query | None, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if query is None:
        return await wrapped(*args, **kwargs)
    with query:
        return await wrapped(*args, **kwargs)


async def _execute(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return await _run(_query(connection, args[0] if args else kwargs.get("query")), wrapped, args, kwargs)


async def _executemany(
    wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    sql = args[0] if args else kwargs.get("command", kwargs.get("query"))
    batch = batch_of(args[1] if len(args) > 1 else kwargs.get("args"))
    return await _run(_query(connection, sql, batch=batch), wrapped, args, kwargs)


async def _copy_table(
    wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    table = args[0] if args else kwargs.get("table_name")
    schema = kwargs.get("schema_name")
    name = ".".join('"{}"'.format(str(part).replace('"', '""')) for part in (schema, table) if part is not None)
    where = "FROM STDIN" if "_to_" in wrapped.__name__ else "TO STDOUT"
    return await _run(_query(connection, f"COPY {name} {where}", timed=False), wrapped, args, kwargs)


async def _copy_query(
    wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    sql = args[0] if args else kwargs.get("query")
    return await _run(_query(connection, f"COPY ({sql}) TO STDOUT", timed=False), wrapped, args, kwargs)


async def _reset(wrapped: Callable[..., Any], _connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Nobody's statement: makes what is inside silent."""
    token = attach(Context({**get_current(), DATABASE: True}))
    try:
        return await wrapped(*args, **kwargs)
    finally:
        detach(token)


async def _execute_prepared(
    wrapped: Callable[..., Any], prepared: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    return await _run(_query_of_part(prepared), wrapped, args, kwargs)


async def _executemany_prepared(
    wrapped: Callable[..., Any], prepared: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    batch = batch_of(args[0] if args else kwargs.get("args"))
    return await _run(_query_of_part(prepared, batch=batch), wrapped, args, kwargs)


async def _open_cursor(wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return await _run(_query_of_part(cursor), wrapped, args, kwargs)


def _query_of_part(part: Any, **details: Any) -> Query | None:
    """The call of a prepared statement or a cursor, each of which knows its connection and text."""
    # The public ways raise once it is closed; another version may have neither, and then there is nothing to tell.
    return _query(getattr(part, "_connection", None), getattr(part, "_query", None), **details)
