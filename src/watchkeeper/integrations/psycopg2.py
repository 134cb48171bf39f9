"""psycopg2: `execute`, `executemany`, `callproc` and `copy_expert` of the cursors of connections made from now on.

Its connections and cursors are of C, whose types nobody can change. So `connect` makes them of classes that inherit
from those that were asked for and, behind those, from ours: `isinstance` holds, and a factory's own methods come first.
A named cursor's statement ends when the cursor is open.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from psycopg2 import extensions

from watchkeeper.databases.composed import text_of_composed
from watchkeeper.databases.queries import Query, batch_of, query_of
from watchkeeper.databases.targets import POSTGRESQL, Target, target
from watchkeeper.integrations.patching import Patches, argument, instrumented_by_contrib, with_argument

_patches = Patches()
MOST_CLASSES = 64  # of cursors and connections that an application asks for


def install() -> None:
    """Watches the connections that are made from now on."""
    if not _patches:
        _patches.wrap("psycopg2", "connect", _connect)


def uninstall() -> None:
    """Gives psycopg2 back as it was. The connections that there are become silent."""
    _patches.undo()


def _connect(wrapped: Callable[..., Any], _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    factory = argument(args, kwargs, 1, "connection_factory") or extensions.connection
    if isinstance(factory, type) and issubclass(factory, extensions.connection):
        args, kwargs = with_argument(args, kwargs, 1, "connection_factory", _watched_connection(factory))
    return wrapped(*args, **kwargs)


class _Connection(extensions.connection):  # type: ignore[misc]  # of C, without types
    """Makes watched cursors."""

    _watchkeeper_target: Target | None = None

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor of the class that is asked for, watched."""
        factory = argument(args, kwargs, 1, "cursor_factory") or self.cursor_factory or extensions.cursor
        if isinstance(factory, type) and issubclass(factory, extensions.cursor):
            args, kwargs = with_argument(args, kwargs, 1, "cursor_factory", _watched_cursor(factory))
        return super().cursor(*args, **kwargs)


class _Cursor(extensions.cursor):  # type: ignore[misc]  # likewise
    """Tells of its statements."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002  # psycopg2's name
        """One statement."""
        self._told(self._query(query), super().execute, query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        """One statement, for each of a list."""
        self._told(self._query(query, batch_of(vars_list)), super().executemany, query, vars_list)

    def callproc(self, procname: Any, parameters: Any = None) -> Any:
        """A stored procedure."""
        given = () if parameters is None else (parameters,)
        return self._told(self._query(f"CALL {procname}"), super().callproc, procname, *given)

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """Copies in or out, which takes the application's time as well."""
        self._told(self._query(sql, timed=False), super().copy_expert, sql, file, size)

    def _query(self, sql: Any, batch: int | None = None, timed: bool = True) -> Query | None:
        if not _patches:
            return None
        if not isinstance(sql, str | bytes):
            sql = text_of_composed(sql, self, "psycopg2.sql")
        traced = not instrumented_by_contrib("psycopg2", "Psycopg2Instrumentor")
        return query_of("psycopg2", self.connection, _target_of, sql, batch=batch, traced=traced, timed=timed)

    def _told(self, query: Query | None, execute: Callable[..., Any], *args: Any) -> Any:
        if query is None:
            return execute(*args)
        with query:
            return execute(*args)


@functools.lru_cache(maxsize=MOST_CLASSES)
def _watched_connection(base: type[Any]) -> type[Any]:
    return _with(base, _Connection)


@functools.lru_cache(maxsize=MOST_CLASSES)
def _watched_cursor(base: type[Any]) -> type[Any]:
    return _with(base, _Cursor)


def _with(base: type[Any], ours: type[Any]) -> type[Any]:
    """`base`, with our class behind all of it that is not psycopg2's own."""
    if issubclass(base, ours):
        return base
    bases = (ours,) if base in {extensions.connection, extensions.cursor} else (base, ours)
    return type(base.__name__, bases, {"__module__": base.__module__, "__qualname__": base.__qualname__})


def _target_of(connection: Any) -> Target:
    known: Target | None = getattr(connection, "_watchkeeper_target", None)
    if known is None:
        try:
            info = connection.info
            known = target(POSTGRESQL, info.host or "", info.port, info.dbname or "")
            connection._watchkeeper_target = known  # noqa: SLF001  # an attribute of our own class
        except Exception:  # noqa: BLE001  # a closed connection tells nothing, and the statement is about to fail
            return target(POSTGRESQL)
    return known
