"""PyMySQL: `execute`, `executemany` and `callproc` of all cursors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from watchkeeper.databases.queries import Query, batch_of, query_of
from watchkeeper.databases.targets import mysql_target
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib

_patches = Patches()


def install() -> None:
    """Watches all cursors, those that exist too."""
    if _patches:
        return
    for name, wrapper in (("execute", _execute), ("executemany", _executemany), ("callproc", _callproc)):
        _patches.wrap("pymysql.cursors", f"Cursor.{name}", wrapper)


def uninstall() -> None:
    """Gives PyMySQL back as it was."""
    _patches.undo()


def _query(cursor: Any, sql: object, batch: int | None = None) -> Query | None:
    connection = cursor.connection
    if connection is None:  # a closed cursor is about to say so
        return None
    traced = not instrumented_by_contrib("pymysql", "PyMySQLInstrumentor")
    return query_of("pymysql", connection, mysql_target, sql, batch=batch, traced=traced)


def _run(query: Query | None, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if query is None:
        return wrapped(*args, **kwargs)
    with query:
        return wrapped(*args, **kwargs)


def _execute(wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _run(_query(cursor, args[0] if args else kwargs.get("query")), wrapped, args, kwargs)


def _executemany(wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    batch = batch_of(args[1] if len(args) > 1 else kwargs.get("args"))
    return _run(_query(cursor, args[0] if args else kwargs.get("query"), batch), wrapped, args, kwargs)


def _callproc(wrapped: Callable[..., Any], cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = args[0] if args else kwargs.get("procname")
    return _run(_query(cursor, f"CALL {name}"), wrapped, args, kwargs)
