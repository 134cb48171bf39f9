"""The same statement again and again within one request: a query for each row of another query's answer (N+1).

Counted where the request is known: its exchange keeps a tally, and when it ends, which is when its route is known for
sure, it says what was repeated: in a metric, as an event of the request's span, and in a warning, at most one a minute
for each route and statement.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.semconv.attributes.db_attributes import DB_QUERY_SUMMARY, DB_QUERY_TEXT

from watchkeeper.context import REQUEST_KEY, SPAN_KEY, Context, attach, detach, get_current
from watchkeeper.databases.reminders import Reminders
from watchkeeper.databases.statements import Statement
from watchkeeper.integrations.exchange import Exchange
from watchkeeper.integrations.part import requests
from watchkeeper.logging.logger import Logger
from watchkeeper.metrics.sets import database

MOST_STATEMENTS = 200  # that one request's tally has; later ones are not counted
_PASSING = frozenset("BEGIN COMMIT ROLLBACK SAVEPOINT RELEASE START END ABORT SET SHOW".split())  # noqa: SIM905

_log = Logger("database")
reminders = Reminders()


class Tally:
    """How often each statement was executed within one request."""

    __slots__ = ("_counts", "_repeated")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._repeated: list[Statement] | None = None

    def add(self, statement: Statement, limit: int) -> None:
        """One more execution."""
        counts, text = self._counts, statement.text
        count = counts.get(text)
        if count is None:
            if len(counts) < MOST_STATEMENTS and statement.operation not in _PASSING:
                counts[text] = 1
            return
        counts[text] = count = count + 1
        if count == limit:
            self._repeated = [*(self._repeated or ()), statement]

    def finish(self, exchange: Exchange, route: str) -> None:
        """Tells what was repeated."""
        if self._repeated is None:
            return
        repeated, self._repeated = self._repeated, None
        span = exchange.span
        inside: dict[str, Any] = {**get_current(), REQUEST_KEY: exchange}
        if span is not None:
            inside[SPAN_KEY] = span
        token = attach(Context(inside))  # servers may end a request outside of it
        try:
            for statement in repeated:
                count = self._counts[statement.text]
                database().n_plus_one(route)
                if span is not None:
                    told: dict[str, Any] = {
                        DB_QUERY_SUMMARY: statement.summary,
                        DB_QUERY_TEXT: statement.text,
                        "db.query.count": count,
                    }
                    span.add_event("db.n_plus_one", told)
                if reminders.due((route, statement.text), requests.settings.clock.monotonic_ns()):
                    _log.warning(
                        f"{statement.summary} was executed {count} times in one request: ask for all rows at once",
                        statement=statement.text,
                        count=count,
                        route=route,
                    )
        finally:
            detach(token)


def tally(statement: Statement, limit: int) -> None:
    """Counts an execution towards the request being served, if there is one."""
    request: Any = get_current().get(REQUEST_KEY)
    if isinstance(request, Exchange):
        if request.queries is None:
            request.queries = Tally()
        request.queries.add(statement, limit)
