"""What a statement is, from its text: its operation, its tables, a summary, and the text without literals.

Made once a text and remembered, by the text's first characters: what follows them is not looked at, so that neither
time nor memory depends on how long a statement is. Nothing here raises, and no literal gets through.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from opentelemetry.semconv.attributes.db_attributes import (
    DB_COLLECTION_NAME,
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_QUERY_SUMMARY,
    DB_QUERY_TEXT,
    DB_STORED_PROCEDURE_NAME,
)

from watchkeeper.databases.clauses import Clauses
from watchkeeper.databases.lexer import ANSI, MARK, MYSQL, Dialect, read
from watchkeeper.tracing.span import Checked

OTHER = "OTHER"
MOST_CHARACTERS = 4_096  # of a statement that are looked at
MOST_REMEMBERED = 1_024  # statements, of each of two generations
MOST_REMEMBERED_CHARACTERS = 1 << 20  # likewise, of their texts
MOST_TARGETS = 8  # databases whose attributes a statement keeps with its own
LONGEST_SUMMARY = 255
LONGEST_NAME = 128

_PLACEHOLDER = r"(?:\?|\$\d+|%s|%\([^()]{0,64}\)s|:\w+)(?:::\w++(?: \w++)*+(?:\(\?(?:, \?)*+\))?)?"
_LIST = re.compile(rf"([(\[]) ?{_PLACEHOLDER}(?: ?, ?{_PLACEHOLDER})*+ ?([)\]])")
_LISTS = re.compile(r"\(\?\)(?: ?, ?\(\?\))++")


class Described(Protocol):
    """A database, as spans tell it."""

    attributes: dict[str, Any]


class Statement:
    """A class of statements: those that differ in nothing but literals and the lengths of lists."""

    __slots__ = ("_attributes", "_told", "operation", "summary", "table", "text")

    def __init__(self, operation: str, table: str, text: str, summary: str, named: dict[str, str]) -> None:
        self.operation = operation  # the verb, in capitals; OTHER if it is none that is known; empty: there is none
        self.table = table  # the first table, as it is written but without quotes; empty: there is none
        self.text = text
        self.summary = summary  # such as `SELECT orders customers`
        self._attributes: dict[str, Any] = {
            DB_OPERATION_NAME: operation,
            DB_QUERY_SUMMARY: summary,
            DB_QUERY_TEXT: text,
            **named,
        }
        self._told: dict[Described, Checked] = {}

    def attributes(self, target: Described) -> Checked:
        """The attributes of a span, with those of the database that is asked."""
        told = self._told.get(target)
        if told is None:
            told = Checked({**target.attributes, **self._attributes})
            if len(self._told) >= MOST_TARGETS:
                self._told.clear()
            self._told[target] = told
        return told

    def batch_attributes(self, target: Described, size: int) -> dict[str, Any]:
        """The same for several executions in one call."""
        return {
            **target.attributes,
            **self._attributes,
            DB_OPERATION_NAME: f"BATCH {self.operation}",
            DB_QUERY_SUMMARY: f"BATCH {self.summary}",
            DB_OPERATION_BATCH_SIZE: size,
        }


class Statements:
    """Statements by their text, of one dialect. What was not asked for in a while is forgotten."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._young: dict[str, Statement] = {}
        self._old: dict[str, Statement] = {}
        self._characters = 0  # of the young ones

    def of(self, sql: str) -> Statement:
        """The statement of that text."""
        key = sql if len(sql) <= MOST_CHARACTERS else sql[:MOST_CHARACTERS]
        found = self._young.get(key)
        if found is not None:
            return found
        found = self._old.get(key)
        if found is None:
            found = analysed(key, self._dialect, cut=len(sql) > MOST_CHARACTERS)
        self._remember(key, found)
        return found

    def _remember(self, key: str, statement: Statement) -> None:
        # Two threads may do so at once: then a generation is a little smaller or larger than it should be.
        self._characters += len(key) + len(statement.text)
        if len(self._young) >= MOST_REMEMBERED or self._characters > MOST_REMEMBERED_CHARACTERS:
            self._old, self._young = self._young, {}
            self._characters = len(key) + len(statement.text)
        self._young[key] = statement


def analysed(sql: str, dialect: Dialect, *, cut: bool = False) -> Statement:
    """The statement of a text, made anew; `cut` says that the text goes on."""
    tokens, text = read(sql, dialect)
    if not any(token != (MARK, ";") for token in tokens):
        return Statement("", "", "", "", {})
    clauses = Clauses(tokens)
    text = _LISTS.sub("(?)", _LIST.sub(r"\1?\2", text))
    tables = [_bounded(table, LONGEST_NAME) for table in clauses.tables]
    named = {}
    if len(set(tables)) == 1:  # of several, none is the collection
        named[DB_COLLECTION_NAME] = tables[0]
    if clauses.procedure:
        named[DB_STORED_PROCEDURE_NAME] = _bounded(clauses.procedure, LONGEST_NAME)
    return Statement(
        clauses.operation or OTHER,
        _bounded(clauses.table, LONGEST_NAME),
        f"{text}…" if cut else text,
        _bounded(" ".join(clauses.summary), LONGEST_SUMMARY) or OTHER,
        named,
    )


def _bounded(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


ansi_statements = Statements(ANSI)
mysql_statements = Statements(MYSQL)
