"""psycopg 3: every statement of its cursors, sync and async, whatever their kind.

`execute` and `executemany` of all cursors, `copy` and `stream`. A server cursor's statement ends when the cursor is
open; what is fetched from it later is no statement of its own. In pipeline mode a statement ends when it is queued.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

from watchkeeper.databases.composed import text_of_composed
from watchkeeper.databases.pools import PoolState, pools
from watchkeeper.databases.queries import Query, batch_of, query_of
from watchkeeper.databases.targets import POSTGRESQL, Target, target
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib

_patches = Patches()
_targets: weakref.WeakKeyDictionary[Any, Target] = weakref.WeakKeyDictionary()


def install() -> None:
    """Watches all cursors, those that exist too."""
    if _patches:
        return
    for kind in ("Cursor", "ServerCursor"):  # all others inherit
        _patches.wrap("psycopg", f"{kind}.execute", _execute)
        _patches.wrap("psycopg", f"Async{kind}.execute", _execute_async)
    _patches.wrap("psycopg", "Cursor.executemany", _executemany)
    _patches.wrap("psycopg", "AsyncCursor.executemany", _executemany_async)
    _patches.wrap("psycopg", "Cursor.copy", _copy)
    _patches.wrap("psycopg", "AsyncCursor.copy", _copy_async)
    _patches.wrap("psycopg", "Cursor.stream", _stream)
    _patches.wrap("psycopg", "AsyncCursor.stream", _stream_async)


def uninstall() -> None:
    """Gives psycopg back as it was."""
    _patches.undo()


def _query(
    cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any], name: str = "query", **details: Any
) -> Query | None:
    sql = args[0] if args else kwargs.get(name)
    if type(sql) is not str:
        sql = text_of_composed(sql, cursor, "psycopg.sql")
    traced = not instrumented_by_contrib("psycopg", "PsycopgInstrumentor")
    return query_of("psycopg", cursor.connection, _target_of, sql, traced=traced, **details)


def _target_of(connection: Any) -> Target:
    known = _targets.get(connection)
    if known is None:
        try:
            info = connection.info
            known = target(POSTGRESQL, info.host, info.port, info.dbname)
        except Exception:  # noqa: BLE001  # a closed connection tells nothing, and the statement is about to fail
            return target(POSTGRESQL)
        _targets[connection] = known
        pool = getattr(connection, "_pool", None)  # psycopg_pool says so nowhere else
        if pool is not None and not pools().tracks(pool):
            pools().track(pool, known.pool_name, _pool_state)
    return known


def _pool_state(pool: Any) -> PoolState | None:
    if pool.closed:
        return None
    stats = pool.get_stats()
    size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
    return PoolState(pool, stats.get("pool_max", size), size - idle, idle, stats.get("requests_waiting", 0))


# Calls that end when they return


def _execute(wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    query = _query(cursor, args, kwargs)
    if query is None:
        return wrapped(*args, **kwargs)
    with query:
        return wrapped(*args, **kwargs)


async def _execute_async(
    wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    query = _query(cursor, args, kwargs)
    if query is None:
        return await wrapped(*args, **kwargs)
    with query:
        return await wrapped(*args, **kwargs)


def _batch(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    return batch_of(args[1] if len(args) > 1 else kwargs.get("params_seq"))


def _executemany(wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    query = _query(cursor, args, kwargs, batch=_batch(args, kwargs))
    if query is None:
        return wrapped(*args, **kwargs)
    with query:
        return wrapped(*args, **kwargs)


async def _executemany_async(
    wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    query = _query(cursor, args, kwargs, batch=_batch(args, kwargs))
    if query is None:
        return await wrapped(*args, **kwargs)
    with query:
        return await wrapped(*args, **kwargs)


# Calls that go on while the application reads or writes: they begin with the first step and end with the last. The
# query is not current meanwhile, since what the application does between is no part of it.


def _copy(
    wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AbstractContextManager[Any]:
    return _copied(wrapped(*args, **kwargs), lambda: _query(cursor, args, kwargs, "statement", timed=False))


@contextmanager
def _copied(copying: AbstractContextManager[Any], begin: Callable[[], Query | None]) -> Iterator[Any]:
    query = begin()
    try:
        with copying as copy:
            yield copy
    except BaseException as error:
        _end(query, error)
        raise
    _end(query)


def _copy_async(
    wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AbstractAsyncContextManager[Any]:
    return _copied_async(wrapped(*args, **kwargs), lambda: _query(cursor, args, kwargs, "statement", timed=False))


@asynccontextmanager
async def _copied_async(
    copying: AbstractAsyncContextManager[Any], begin: Callable[[], Query | None]
) -> AsyncGenerator[Any, None]:
    query = begin()
    try:
        async with copying as copy:
            yield copy
    except BaseException as error:
        _end(query, error)
        raise
    _end(query)


def _stream(
    wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Generator[Any, Any, Any]:
    return _streamed(wrapped(*args, **kwargs), lambda: _query(cursor, args, kwargs, timed=False))


def _streamed(rows: Generator[Any, Any, Any], begin: Callable[[], Query | None]) -> Generator[Any, Any, Any]:
    query = begin()
    try:
        result = yield from rows
    except BaseException as error:
        _end(query, error)
        raise
    _end(query)
    return result


def _stream_async(
    wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncGenerator[Any, Any]:
    return _streamed_async(wrapped(*args, **kwargs), lambda: _query(cursor, args, kwargs, timed=False))


async def _streamed_async(
    rows: AsyncGenerator[Any, Any], begin: Callable[[], Query | None]
) -> AsyncGenerator[Any, Any]:
    query = begin()
    try:
        async for row in rows:
            yield row
    except BaseException as error:
        await rows.aclose()
        _end(query, error)
        raise
    _end(query)


def _end(query: Query | None, error: BaseException | None = None) -> None:
    if query is not None:
        query.end(None if isinstance(error, GeneratorExit) else error)  # whoever has read enough has not failed
