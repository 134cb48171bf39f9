"""A statement under way: one span, one count, and what is slow or repeated is said.

query = query_of("psycopg", cursor.connection, target_of, sql)
if query is None:  # the inside of another's call, or nothing to tell
    return wrapped(*args, **kwargs)
with query:
    return wrapped(*args, **kwargs)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from opentelemetry.semconv.attributes.db_attributes import DB_RESPONSE_STATUS_CODE
from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_MESSAGE, EXCEPTION_TYPE

from watchkeeper.context import SPAN_KEY, Context, attach, detach, get_current
from watchkeeper.databases.options import DatabaseOptions
from watchkeeper.databases.repetition import reminders, tally
from watchkeeper.databases.statements import MOST_CHARACTERS, Statement
from watchkeeper.databases.targets import Target
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.calls import DATABASE, Call, busy
from watchkeeper.integrations.part import requests
from watchkeeper.logging.logger import Logger
from watchkeeper.metrics.sets import database
from watchkeeper.tracing.span import type_name
from watchkeeper.values import text_of

LONGEST_MESSAGE = 500

_log = Logger("database")
# Where servers' and drivers' messages repeat values. A value may hold quotes and line breaks of its own: so what may be
# one goes on to the last quote there is, or to the end, unless it is known what stands behind it.
_VALUES = (
    re.compile(  # asyncpg's, which shows what it was given as Python does
        r"(?P<before>invalid input for query argument \$\d[^:]{0,80}: )"
        r".*?(?P<behind> \(expected [\w .]{1,80}, got [\w.]{1,80}\))?\Z",
        re.DOTALL,
    ),
    re.compile(  # PostgreSQL's and SQLite's; a name stands elsewhere
        r"(?P<before>: |\bnear |\bvalue )"
        r'".*?(?:"(?P<behind> is out of range for type [\w ]{1,40}|: syntax error)(?=\n|\Z)|\Z)',
        re.DOTALL,
    ),
    re.compile(  # MySQL's, of names too; an apostrophe stands in a word
        r"(?P<before>)(?<!\w)'(?:.*'(?= (?:for key|in) '[^']{1,130}'\Z)|.*'(?!\w)|.*)(?P<behind>)", re.DOTALL
    ),
)


class Settings:
    """What statements are judged by."""

    def __init__(self) -> None:
        self.wire(DatabaseOptions())

    def wire(self, options: DatabaseOptions) -> None:
        """Judges by these options."""
        self.slow_seconds = options.slow_query_seconds or float("inf")
        self.n_plus_one = options.n_plus_one
        reminders.forget()


settings = Settings()


class Query(Call):
    """A statement under way. Its end counts it."""

    __slots__ = ("_statement", "_timed")

    def __init__(
        self, target: Target, statement: Statement, *, batch: int | None = None, traced: bool = True, timed: bool = True
    ) -> None:
        """`batch`: how many executions this call is of; None: one. `timed`: the time is not also the caller's own."""
        self._statement = statement
        self._timed = timed
        name = statement.summary
        attributes: dict[str, Any]
        if batch is None or batch == 1:
            attributes = statement.attributes(target)
        else:
            attributes = statement.batch_attributes(target, batch)
            name = f"BATCH {name}"
        super().__init__(name, DATABASE, attributes, traced=traced)

    def end(self, error: BaseException | None = None) -> None:
        """Ends it, once, and counts it. Never raises."""
        if self._ended:
            return
        failed = isinstance(error, Exception)
        if isinstance(error, Exception):
            self._describe(error)
            super().end()
        else:
            super().end(error)
        try:
            self._settle(failed, error is not None)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("query", failure)

    def _describe(self, error: Exception) -> None:
        """Says how it failed, without the values that servers repeat in their messages."""
        self.fail(type_name(error))
        span = self.span
        if not span.is_recording():
            return
        code = status_code_of(error)
        if code:
            span.set_attribute(DB_RESPONSE_STATUS_CODE, code)
        span.add_event("exception", {EXCEPTION_TYPE: self.error_type, EXCEPTION_MESSAGE: message_of(error)})

    def _settle(self, failed: bool, ended_by_error: bool) -> None:
        statement, seconds = self._statement, self.seconds
        slow = seconds >= settings.slow_seconds and self._timed
        database().query(
            statement.operation,
            statement.table,
            seconds,
            error_type=self.error_type if failed else "",
            cancelled=ended_by_error and not failed,
            slow=slow,
            span=self.span,
        )
        if settings.n_plus_one:
            tally(statement, settings.n_plus_one)
        if slow:
            self._tell()

    def _tell(self) -> None:
        """A line about a slow statement, unless there was one within the last minute."""
        text = self._statement.text
        if not reminders.due(("slow", text), requests.settings.clock.monotonic_ns()):
            return
        summary = self._statement.summary
        inside = {**get_current(), SPAN_KEY: self.span} if self.span.get_span_context().is_valid else get_current()
        token = attach(Context(inside))
        try:
            _log.warning(
                f"{summary} took {self.seconds:.3g} seconds",
                summary=summary,
                statement=text,
                duration_seconds=self.seconds,
                slow=True,
            )
        finally:
            detach(token)


def query_of(
    where: str,
    connection: Any,
    target_of: Callable[[Any], Target],
    sql: object,
    *,
    batch: int | None = None,
    traced: bool = True,
    timed: bool = True,
) -> Query | None:
    """The call of a statement, not yet current. None: another's call is under way, or there is nothing to execute."""
    if busy(DATABASE):
        return None
    try:
        target = target_of(connection)
        statement = target.statements.of(sql if type(sql) is str else sql_text(sql))
        if not statement.operation:  # a ping
            return None
        return Query(target, statement, batch=batch, traced=traced, timed=timed)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed(where, failure)
        return None


def sql_text(sql: object) -> str:
    """The beginning of a statement that is no plain text; empty if it cannot be one."""
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes | bytearray | memoryview):
        return bytes(sql[: MOST_CHARACTERS + 1]).decode(errors="replace")
    strings = getattr(sql, "strings", None)  # a template string's, between what is put in
    if isinstance(strings, tuple):
        return "?".join(strings)
    return ""


def batch_of(parameters: object) -> int | None:
    """How many executions a list of parameters makes, if that can be told without using it up."""
    return len(parameters) if isinstance(parameters, list | tuple) else None


def status_code_of(error: BaseException) -> str:
    """The number of MySQL's drivers, the SQLSTATE of PostgreSQL's, or SQLite's name; empty if there is none."""
    if _is_numbered(error):
        return str(error.args[0])
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        code: Any = getattr(error, name, None)
        if isinstance(code, str):
            return code
    return ""


def message_of(error: BaseException) -> str:
    """The first line of an error's message, without the values that it repeats."""
    text = text_of(error.args[1] if _is_numbered(error) and len(error.args) > 1 else error).strip()
    for values in _VALUES:
        text = values.sub(lambda found: f"{found['before']}?{found['behind'] or ''}", text)
    return text.partition("\n")[0][:LONGEST_MESSAGE]


def _is_numbered(error: BaseException) -> bool:
    """Whether it is one of MySQL's, whose first argument is a number and whose second is the message."""
    arguments = error.args
    return (
        bool(arguments)
        and type(arguments[0]) is int
        and type(error).__module__.startswith(("pymysql", "MySQLdb", "asyncmy", "aiomysql"))
    )
