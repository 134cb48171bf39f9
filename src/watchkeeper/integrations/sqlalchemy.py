"""SQLAlchemy, Core and ORM, sync and async: every statement of every engine, by its own events.

The driver's call below is the same call, and silent. A statement ends when the driver has executed it: rows that are
streamed later are no part of it. Commits and rollbacks are none, unless the driver makes statements of them.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, create_key  # the first is published by no other name
from opentelemetry.trace import INVALID_SPAN

from watchkeeper.context import SPAN_KEY, Context, get_current
from watchkeeper.databases.pools import PoolState, pools
from watchkeeper.databases.queries import Query
from watchkeeper.databases.targets import Target, target
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.calls import DATABASE, busy
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib

RUNNING = create_key("watchkeeper-sqlalchemy")  # the Execution that is under way

_patches = Patches()
_targets: weakref.WeakKeyDictionary[Any, Target] = weakref.WeakKeyDictionary()


class Execution(Query):
    """A statement under way, from one event to another."""

    __slots__ = ("connection", "cursor")

    def __init__(self, connection: Any, cursor: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connection = connection
        self.cursor = cursor

    def context(self) -> Context:
        """The context inside, where instrumentations of drivers, OpenTelemetry's too, find that they are not asked."""
        inside: dict[str, Any] = {**get_current(), DATABASE: True, RUNNING: self}
        if self.span is not INVALID_SPAN:
            inside[SPAN_KEY] = self.span
            inside[_SUPPRESS_INSTRUMENTATION_KEY] = True
        return Context(inside)

    def end(self, error: BaseException | None = None) -> None:
        """Ends it, and lets go of what is SQLAlchemy's: whoever keeps calls must not keep connections."""
        self.connection = self.cursor = None
        super().end(error)


def install() -> None:
    """Watches all engines, those that exist too."""
    if _patches:
        return
    from sqlalchemy import event  # noqa: PLC0415  # only where the application has it
    from sqlalchemy.engine import Engine  # noqa: PLC0415

    # Failures are heard first: another's listener may raise, and then nobody after it is told.
    listeners: tuple[tuple[str, Any, dict[str, bool]], ...] = (
        ("before_cursor_execute", _before, {"retval": True}),  # which saves a wrapper around it
        ("after_cursor_execute", _after, {"insert": True}),
        ("handle_error", _failed, {"insert": True}),
    )
    for name, listener, details in listeners:
        event.listen(Engine, name, listener, **details)
        _patches.on_undo(functools.partial(event.remove, Engine, name, listener))


def uninstall() -> None:
    """Takes the listeners off."""
    _patches.undo()


def _before(
    connection: Any, cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool
) -> tuple[str, Any]:
    try:
        _begin(connection, cursor, statement, parameters, executemany)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("sqlalchemy", failure)
    return statement, parameters


def _begin(connection: Any, cursor: Any, sql: str, parameters: Any, executemany: bool) -> None:
    forgotten: Any = get_current().get(RUNNING)
    if forgotten is not None and forgotten.connection is connection:  # SQLAlchemy told nobody of its end
        forgotten.__exit__(None, None, None)
    if busy(DATABASE) or connection.get_execution_options().get("skip_user_error_events"):
        return  # of the latter, a question whose failure is an answer, we would not hear the end; the driver says it
    known = _targets.get(connection.engine) or _new_target(connection)
    statement = known.statements.of(sql)
    if not statement.operation:
        return
    traced = not instrumented_by_contrib("sqlalchemy", "SQLAlchemyInstrumentor")
    # Of an INSERT with the values of many rows, executemany is said too, but its parameters are one list of values.
    batch = len(parameters) if executemany and isinstance(parameters, list) else None
    Execution(connection, cursor, known, statement, batch=batch, traced=traced).__enter__()


def _after(_connection: Any, cursor: Any, _statement: str, _parameters: Any, _context: Any, _executemany: bool) -> None:
    running: Any = get_current().get(RUNNING)
    if running is not None and running.cursor is cursor:
        running.__exit__(None, None, None)


def _failed(told: Any) -> None:
    running: Any = get_current().get(RUNNING)
    if running is None or running.connection is not told.connection:
        return
    error = told.original_exception
    # SQLAlchemy's adapters of async drivers raise errors of their own, caused by the driver's, which tell more.
    cause = error.__cause__ if type(error).__module__.startswith("sqlalchemy.") else None
    running.__exit__(None, cause or error, None)


def _new_target(connection: Any) -> Target:
    engine, dialect = connection.engine, connection.dialect
    url = engine.url
    system = "mariadb" if dialect.name == "mysql" and getattr(dialect, "is_mariadb", False) else dialect.name
    known = _targets[engine] = target(system, url.host or "", url.port, url.database or "")
    pools().track(engine, known.pool_name, _pool_state)
    return known


def _pool_state(engine: Any) -> PoolState | None:
    pool = engine.pool  # another one after `dispose`
    if not all(hasattr(pool, name) for name in ("size", "checkedin", "checkedout")):
        return None  # a pool without bounds, or of one connection
    active, idle = pool.checkedout(), pool.checkedin()
    overflow = getattr(pool, "_max_overflow", 0)  # SQLAlchemy says so nowhere else; -1: without bounds
    size = pool.size() + overflow if overflow >= 0 else max(pool.size(), active + idle)
    return PoolState(pool, size, active, idle, _waiting(pool))


def _waiting(pool: Any) -> int:
    queue = vars(pool).get("_pool")  # SQLAlchemy says so nowhere else
    if queue is None:
        return 0
    threads = getattr(vars(queue).get("not_empty"), "_waiters", ())
    return len(threads or getattr(vars(queue).get("_queue"), "_getters", ()))  # the latter are tasks
