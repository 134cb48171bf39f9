"""psycopg2, against PostgreSQL."""
# ruff: noqa: S608  # the names in these statements are the tests' own

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
import sqlalchemy
from opentelemetry.trace import StatusCode
from psycopg2 import errors, extras, pool, sql
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

import watchkeeper as wk
from support.databases import POSTGRESQL, counted, inserted, names, new_table, statements
from watchkeeper.integrations import psycopg2 as integration
from watchkeeper.testing import Captured


@pytest.fixture
def connection(seen: Captured) -> Iterator[Any]:
    made = psycopg2.connect(POSTGRESQL)
    made.autocommit = True
    yield made
    made.close()


@pytest.fixture
def table(connection: Any, seen: Captured) -> Iterator[str]:
    name = new_table()
    connection.cursor().execute(f"CREATE TABLE {name} (id int PRIMARY KEY, name text)")
    seen.spans.clear()
    yield name
    connection.cursor().execute(f"DROP TABLE {name}")


def test_a_statement_is_one_span_and_one_count(connection: Any, table: str, seen: Captured) -> None:
    with wk.span("work") as work, connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (%s, 'literal') RETURNING id", (7,))
        assert cursor.fetchone() == (7,)
    (span,) = statements(seen)
    assert (span.name, span.parent_id) == (f"INSERT {table}", work.span_id)
    assert span.attributes == inserted(table, f"INSERT INTO {table} VALUES (?) RETURNING id")
    assert counted(seen, "INSERT", table) == 1


def test_every_way_to_write_a_statement_is_read(connection: Any, table: str, seen: Captured) -> None:
    cursor = connection.cursor()
    composed = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(sql.Literal("S3CR3T"), sql.Identifier(table))
    cursor.execute(composed, (1,))
    cursor.execute(f"SELECT 2 FROM {table}".encode())
    assert names(seen) == [f"SELECT {table}"] * 2
    assert statements(seen)[0].attributes["db.query.text"] == f'SELECT ? FROM "{table}" WHERE id = %s'


def test_a_failure_is_recorded_and_raised_as_it_was(connection: Any, table: str, seen: Captured) -> None:
    cursor = connection.cursor()
    cursor.execute(f"INSERT INTO {table} VALUES (1471147114)")
    with pytest.raises(errors.UniqueViolation, match="1471147114"):
        cursor.execute(f"INSERT INTO {table} VALUES (1471147114)")
    span = statements(seen)[-1]
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["db.response.status_code"] == "23505"
    assert "1471147114" not in str(span.events[0].attributes)
    assert counted(seen, "INSERT", table, "error") == 1


def test_batches_procedures_and_copies_are_one_span_each(connection: Any, table: str, seen: Captured) -> None:
    cursor = connection.cursor()
    cursor.executemany(f"INSERT INTO {table} VALUES (%s)", [(1,), (2,)])
    cursor.callproc("abs", (-1,))
    cursor.callproc("now")
    cursor.copy_expert(f"COPY {table} (id) FROM STDIN", io.StringIO("3\n4\n"))
    assert names(seen) == [f"BATCH INSERT {table}", "CALL abs", "CALL now", f"COPY {table}"]
    extras.execute_values(cursor, f"INSERT INTO {table} (id) VALUES %s", [(5,), (6,)])
    assert names(seen)[-1] == f"INSERT {table}"


@pytest.mark.parametrize("kind", [extras.DictCursor, extras.RealDictCursor, extras.NamedTupleCursor])
def test_a_cursor_is_of_the_class_that_was_asked_for(connection: Any, table: str, seen: Captured, kind: Any) -> None:
    cursor = connection.cursor(cursor_factory=kind)
    cursor.execute(f"SELECT 1 AS one FROM {table} UNION SELECT 1")
    row = cursor.fetchone()
    assert isinstance(cursor, kind)
    assert (row.one if kind is extras.NamedTupleCursor else row["one"]) == 1
    assert len(names(seen)) == 1


def test_connections_of_all_kinds_are_watched(table: str, seen: Captured) -> None:
    for arguments in (
        {"connection_factory": extras.RealDictConnection},
        {"cursor_factory": extras.RealDictCursor},
    ):
        made = psycopg2.connect(POSTGRESQL, **arguments)
        with made, made.cursor() as cursor:
            cursor.execute(f"SELECT count(*) AS rows FROM {table}")
            assert cursor.fetchone() == {"rows": 0}
        assert isinstance(made, Connection)
        assert isinstance(cursor, Cursor)
        made.close()
    assert names(seen) == [f"SELECT {table}"] * 2


def test_a_pool_and_a_named_cursor_are_watched(table: str, seen: Captured) -> None:
    made = pool.SimpleConnectionPool(1, 1, POSTGRESQL)
    connection = made.getconn()
    with connection.cursor("streamed") as cursor:
        cursor.execute(f"SELECT id FROM {table}")
        assert list(cursor) == []
    made.putconn(connection)
    made.closeall()
    assert names(seen) == [f"SELECT {table}"]


def test_a_statement_of_sqlalchemy_is_one_span(seen: Captured) -> None:
    engine = sqlalchemy.create_engine(POSTGRESQL.replace("postgresql:", "postgresql+psycopg2:"))
    with engine.connect() as made:
        seen.spans.clear()
        made.execute(sqlalchemy.text("SELECT 1"))
    engine.dispose()
    assert [name for name in names(seen) if name.startswith("SELECT")] == ["SELECT"]


def test_uninstalled_it_is_as_it_was_and_its_connections_are_silent(
    connection: Any, table: str, seen: Captured
) -> None:
    integration.uninstall()
    try:
        connection.cursor().execute(f"SELECT 1 FROM {table}")
        plain = psycopg2.connect(POSTGRESQL)
        assert type(plain) is Connection
        plain.close()
        assert names(seen) == []
    finally:
        integration.install()
