"""PyMySQL and aiomysql, against MariaDB."""
# ruff: noqa: S608  # the names in these statements are the tests' own

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiomysql
import pymysql
import pytest
from opentelemetry.trace import StatusCode

import watchkeeper as wk
from support.databases import MARIADB, counted, names, new_table, statements
from watchkeeper.testing import Captured, capture


@pytest.fixture
def connection(seen: Captured) -> Iterator[Any]:
    made = pymysql.connect(**MARIADB, database="test", autocommit=True)
    yield made
    made.close()


@pytest.fixture
async def async_connection(seen: Captured) -> AsyncIterator[Any]:
    made = await aiomysql.connect(**MARIADB, db="test", autocommit=True)
    yield made
    await made.ensure_closed()


@pytest.fixture
def table(connection: Any, seen: Captured) -> Iterator[str]:
    name = new_table()
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, name varchar(40))")
        cursor.execute(f"CREATE PROCEDURE {name}_settle(x int) SELECT x")
        seen.spans.clear()
        yield name
        cursor.execute(f"DROP PROCEDURE {name}_settle")
        cursor.execute(f"DROP TABLE {name}")


def test_a_statement_is_one_span_and_one_count(connection: Any, table: str, seen: Captured) -> None:
    with wk.span("work") as work, connection.cursor() as cursor:
        assert cursor.execute(f'INSERT INTO {table} VALUES (%s, "S3C\\"R3T")', (7,)) == 1
        cursor.execute(f"SELECT name FROM {table} WHERE id = %(id)s", {"id": 7})
        assert cursor.fetchall() == (('S3C"R3T',),)
    assert names(seen) == [f"INSERT {table}", f"SELECT {table}"]
    span = statements(seen)[0]
    assert span.parent_id == work.span_id
    assert span.attributes == {
        "db.system.name": "mariadb",
        "db.namespace": "test",
        "server.address": "127.0.0.1",
        "server.port": 3306,
        "db.operation.name": "INSERT",
        "db.collection.name": table,
        "db.query.summary": f"INSERT {table}",
        "db.query.text": f"INSERT INTO {table} VALUES (?)",
    }
    assert counted(seen, "INSERT", table) == counted(seen, "SELECT", table) == 1


@pytest.mark.parametrize("sql", ["INSERT INTO {} (id) VALUES (%s)", "DELETE FROM {} WHERE id = %s"])
def test_many_executions_are_one_span_however_the_driver_sends_them(
    sql: str, connection: Any, table: str, seen: Captured
) -> None:
    operation = sql.partition(" ")[0]
    with connection.cursor() as cursor:
        cursor.executemany(sql.format(table), [(1,), (2,), (3,)])
    assert names(seen) == [f"BATCH {operation} {table}"]
    assert statements(seen)[0].attributes["db.operation.batch.size"] == 3
    assert counted(seen, operation, table) == 1


def test_procedures_and_unbuffered_cursors_are_watched(connection: Any, table: str, seen: Captured) -> None:
    with connection.cursor() as cursor:
        cursor.callproc(f"{table}_settle", (5,))
        assert cursor.fetchall() == ((5,),)
    with connection.cursor(pymysql.cursors.SSDictCursor) as cursor:
        cursor.execute("SELECT 1 AS one UNION SELECT 2")
        assert list(cursor) == [{"one": 1}, {"one": 2}]
    assert names(seen) == [f"CALL {table}_settle", "SELECT SELECT"]
    assert statements(seen)[0].attributes["db.stored_procedure.name"] == f"{table}_settle"


def test_a_failure_is_recorded_and_raised_as_it_was(connection: Any, table: str, seen: Captured) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} (id) VALUES (4711)")
        with pytest.raises(pymysql.IntegrityError) as caught:
            cursor.execute(f"INSERT INTO {table} (id) VALUES (4711)")
    assert caught.value.args == (1062, "Duplicate entry '4711' for key 'PRIMARY'")
    span = statements(seen)[-1]
    assert span.status_code is StatusCode.ERROR
    assert span.attributes["db.response.status_code"] == "1062"
    assert span.attributes["error.type"] == "pymysql.err.IntegrityError"
    assert [event.attributes["exception.message"] for event in span.events or ()] == ["Duplicate entry ? for key ?"]
    assert counted(seen, "INSERT", table, "error") == 1


def test_a_closed_cursor_says_so_itself(connection: Any, seen: Captured) -> None:
    cursor = connection.cursor()
    cursor.close()
    with pytest.raises(pymysql.ProgrammingError, match="Cursor closed"):
        cursor.execute("SELECT 1")


async def test_async_cursors_likewise(async_connection: Any, table: str, seen: Captured) -> None:
    assert inspect.iscoroutinefunction(aiomysql.Cursor.execute)
    with wk.span("work") as work:
        async with async_connection.cursor() as cursor:
            assert await cursor.execute(f"INSERT INTO {table} (id) VALUES (%s)", (1,)) == 1
            await cursor.executemany(f"INSERT INTO {table} (id) VALUES (%s)", [(2,), (3,)])
            await cursor.executemany(f"DELETE FROM {table} WHERE id = %s", [(2,), (3,)])
            await cursor.callproc(f"{table}_settle", (5,))
            assert await cursor.fetchall() == ((5,),)
            with pytest.raises(pymysql.IntegrityError):
                await cursor.execute(f"INSERT INTO {table} (id) VALUES (1)")
        async with async_connection.cursor(aiomysql.SSCursor) as cursor:
            await cursor.execute(f"SELECT id FROM {table}")
            assert await cursor.fetchall() == [(1,)]
    assert names(seen) == [
        f"INSERT {table}", f"BATCH INSERT {table}", f"BATCH DELETE {table}", f"CALL {table}_settle", f"INSERT {table}",
        f"SELECT {table}",
    ]  # fmt: skip
    assert {span.parent_id for span in statements(seen)} == {work.span_id}
    assert statements(seen)[4].attributes["db.response.status_code"] == "1062"
    assert statements(seen)[0].attributes["db.system.name"] == "mariadb"
    assert counted(seen, "INSERT", table) == 2
    assert counted(seen, "INSERT", table, "error") == 1


async def test_connections_from_before_are_watched_and_given_back(seen: Captured) -> None:
    wk.shutdown()
    originals = [dict(vars(kind)) for kind in (pymysql.cursors.Cursor, aiomysql.Cursor, aiomysql.Pool)]
    connection = pymysql.connect(**MARIADB, database="test")
    async_connection = await aiomysql.connect(**MARIADB, db="test")
    cursor, async_cursor = connection.cursor(), await async_connection.cursor()
    with capture() as now:
        cursor.execute("SELECT 1")
        await async_cursor.execute("SELECT 1")
        assert names(now) == ["SELECT", "SELECT"]
    assert [dict(vars(kind)) for kind in (pymysql.cursors.Cursor, aiomysql.Cursor, aiomysql.Pool)] == originals
    cursor.execute("SELECT 1")
    await async_cursor.execute("SELECT 1")
    assert names(now) == ["SELECT", "SELECT"]
    connection.close()
    await async_connection.ensure_closed()
