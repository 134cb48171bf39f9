"""psycopg, against PostgreSQL."""
# ruff: noqa: S608  # the names in these statements are the tests' own

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from opentelemetry.trace import StatusCode
from psycopg import sql
from psycopg.adapt import Dumper

import watchkeeper as wk
from support.databases import POSTGRESQL, counted, inserted, names, new_table, statements, until_running
from watchkeeper.context import get_current
from watchkeeper.testing import Captured, capture


@pytest.fixture
def connection(seen: Captured) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(POSTGRESQL, autocommit=True) as made:
        yield made


@pytest.fixture
async def async_connection(seen: Captured) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(POSTGRESQL, autocommit=True) as made:
        yield made


@pytest.fixture
def table(connection: psycopg.Connection[Any], seen: Captured) -> Iterator[str]:
    name = new_table()
    connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, name text)")
    seen.spans.clear()
    yield name
    connection.execute(f"DROP TABLE {name}")


def test_a_statement_is_one_span_and_one_count(connection: psycopg.Connection[Any], table: str, seen: Captured) -> None:
    with wk.span("work") as work:
        cursor = connection.execute(f"INSERT INTO {table} VALUES (%s, 'literal') RETURNING id", ("7",))
    assert cursor.fetchone() == (7,)
    (span,) = statements(seen)
    assert (span.name, span.parent_id) == (f"INSERT {table}", work.span_id)
    assert span.attributes == inserted(table, f"INSERT INTO {table} VALUES (?) RETURNING id")
    assert counted(seen, "INSERT", table) == 1


def test_every_way_to_write_a_statement_is_read(
    connection: psycopg.Connection[Any], table: str, seen: Captured
) -> None:
    composed = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(sql.Literal("S3CR3T"), sql.Identifier(table))
    connection.execute(composed, (1,))
    connection.execute(sql.SQL("SELECT 1 FROM " + table))
    connection.execute(f"SELECT 2 FROM {table}".encode())
    assert names(seen) == [f"SELECT {table}"] * 3
    assert statements(seen)[0].attributes["db.query.text"] == f'SELECT ? FROM "{table}" WHERE id = %s'


def test_a_failure_is_recorded_and_raised_as_it_was(
    connection: psycopg.Connection[Any], table: str, seen: Captured
) -> None:
    connection.execute(f"INSERT INTO {table} VALUES (1471147114)")
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        connection.execute(f"INSERT INTO {table} VALUES (1471147114)")
    assert "1471147114" in str(caught.value)
    span = statements(seen)[-1]
    assert span.status_code is StatusCode.ERROR
    assert span.attributes["db.response.status_code"] == "23505"
    assert span.attributes["error.type"] == "psycopg.errors.UniqueViolation"
    assert "1471147114" not in str([event.attributes for event in span.events or ()])
    assert counted(seen, "INSERT", table, "error") == 1


def test_values_of_a_composed_statement_are_asked_for_their_text_once(
    connection: psycopg.Connection[Any], seen: Captured
) -> None:
    class Price:
        pass

    asked = []

    class PriceDumper(Dumper):
        """An application's, which may do anything."""

        def dump(self, obj: Any) -> bytes:
            asked.append(obj)
            return b"4711"

    connection.adapters.register_dumper(Price, PriceDumper)
    prices = sql.SQL(", ").join([sql.SQL("({}, {})").format(Price(), sql.Literal("S3CR3T")) for _ in range(1_000)])
    connection.execute(sql.SQL("SELECT * FROM (VALUES {}) AS prices").format(prices))
    assert len(asked) == 1_000
    assert statements(seen)[-1].attributes["db.query.text"] == "SELECT * FROM (VALUES (?), (?,…"


@pytest.mark.parametrize("mistake", [None, 7, object(), sql.SQL("{}").format(object())])
def test_the_callers_mistakes_stay_the_callers(mistake: Any, connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(Exception) as caught:
        connection.execute(mistake)
    assert type(caught.value).__module__ in {"builtins", "psycopg", "psycopg.errors"}


def test_many_executions_are_one_span_that_says_how_many(
    connection: psycopg.Connection[Any], table: str, seen: Captured
) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} VALUES (%s)", [(1,), (2,), (3,)])
        cursor.executemany(f"INSERT INTO {table} VALUES (%s)", ((at,) for at in (4, 5)))
        cursor.executemany(f"INSERT INTO {table} VALUES (%s)", [(6,)])
    assert names(seen) == [f"BATCH INSERT {table}", f"INSERT {table}", f"INSERT {table}"]
    assert statements(seen)[0].attributes["db.operation.batch.size"] == 3
    assert statements(seen)[0].attributes["db.operation.name"] == "BATCH INSERT"
    assert counted(seen, "INSERT", table) == 3
    assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (6,)


def test_copies_last_as_long_as_their_block(connection: psycopg.Connection[Any], table: str, seen: Captured) -> None:
    with connection.cursor().copy(f"COPY {table} (id) FROM STDIN") as copy:
        copy.write_row((1,))
        assert statements(seen) == []
    with connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
        assert len(list(copy.rows())) == 1
    with pytest.raises(psycopg.errors.UniqueViolation), connection.cursor().copy(f"COPY {table} (id) FROM STDIN") as c:
        c.write_row((1,))
    assert names(seen) == [f"COPY {table}"] * 3
    assert counted(seen, "COPY", table) == 2
    assert counted(seen, "COPY", table, "error") == 1


def test_a_stream_stays_a_generator_and_lasts_until_its_last_row(
    connection: psycopg.Connection[Any], seen: Captured
) -> None:
    rows = connection.cursor().stream("SELECT generate_series(1, 5)")
    assert inspect.isgenerator(rows)
    assert next(rows) == (1,)
    assert statements(seen) == []
    assert list(rows) == [(2,), (3,), (4,), (5,)]
    assert names(seen) == ["SELECT"]
    for row in connection.cursor().stream("SELECT generate_series(1, 100)"):
        if row == (3,):
            break
    assert [span.status_code for span in statements(seen)] == [StatusCode.UNSET] * 2
    assert not any("error.type" in span.attributes for span in statements(seen))
    with pytest.raises(psycopg.errors.DivisionByZero):
        list(connection.cursor().stream("SELECT 1 / (3 - g) FROM generate_series(1, 5) g"))
    assert statements(seen)[-1].attributes["db.response.status_code"] == "22012"


def test_between_the_steps_of_a_stream_its_span_is_not_current(
    connection: psycopg.Connection[Any], table: str, seen: Captured
) -> None:
    before = get_current()
    with psycopg.connect(POSTGRESQL) as other:
        for _ in connection.cursor().stream("SELECT generate_series(1, 2)"):
            assert get_current() == before
            other.execute(f"SELECT 1 FROM {table}")
    assert counted(seen, "SELECT", table) == 2


def test_a_server_cursor_is_the_statement_it_is_for(
    connection: psycopg.Connection[Any], table: str, seen: Captured
) -> None:
    connection.execute(f"INSERT INTO {table} SELECT generate_series(1, 10)")
    with connection.transaction(), connection.cursor("by_name") as cursor:
        cursor.execute(f"SELECT id FROM {table}")
        assert len(cursor.fetchmany(3)) == 3
        assert len(list(cursor)) == 7
    assert names(seen)[-1] == f"SELECT {table}"
    assert counted(seen, "SELECT", table) == 1


def test_a_pipelines_statements_are_one_span_each(
    connection: psycopg.Connection[Any], table: str, seen: Captured
) -> None:
    with connection.pipeline():
        connection.execute(f"INSERT INTO {table} VALUES (1)")
        connection.execute(f"SELECT id FROM {table}")
    assert names(seen) == [f"INSERT {table}", f"SELECT {table}"]


def test_pings_are_nothing(connection: psycopg.Connection[Any], seen: Captured) -> None:
    connection.execute("")
    connection.execute("; -- alive?")
    assert statements(seen) == []


async def test_async_cursors_likewise(
    async_connection: psycopg.AsyncConnection[Any], table: str, seen: Captured
) -> None:
    assert inspect.iscoroutinefunction(psycopg.AsyncCursor.execute)
    with wk.span("work") as work:
        await async_connection.execute(f"INSERT INTO {table} VALUES (%s)", (1,))
        async with async_connection.cursor() as cursor:
            await cursor.executemany(f"INSERT INTO {table} VALUES (%s)", [(2,), (3,)])
            async with cursor.copy(f"COPY {table} TO STDOUT") as copy:
                assert len([row async for row in copy.rows()]) == 3
            rows = cursor.stream(f"SELECT id FROM {table}")
            assert inspect.isasyncgen(rows)
            assert [row async for row in rows] == [(1,), (2,), (3,)]
            with pytest.raises(psycopg.errors.UniqueViolation):
                await cursor.execute(f"INSERT INTO {table} VALUES (1)")
        async with async_connection.transaction(), async_connection.cursor("by_name") as cursor:
            await cursor.execute(f"SELECT name FROM {table}")
            assert len(await cursor.fetchall()) == 3
    found = statements(seen)
    assert [span.name for span in found if span.name not in {"BEGIN", "COMMIT"}] == [
        f"INSERT {table}", f"BATCH INSERT {table}", f"COPY {table}", f"SELECT {table}", f"INSERT {table}",
        f"SELECT {table}",
    ]  # fmt: skip
    assert {span.parent_id for span in found} == {work.span_id}
    assert counted(seen, "INSERT", table, "error") == 1


async def test_an_async_stream_that_is_left_closes_the_drivers(
    async_connection: psycopg.AsyncConnection[Any], seen: Captured
) -> None:
    rows = async_connection.cursor().stream("SELECT generate_series(1, 100000)")
    async with contextlib.aclosing(rows):
        async for row in rows:
            if row == (3,):
                break
    assert not async_connection.lock.locked()
    assert [span.status_code for span in statements(seen)] == [StatusCode.UNSET]
    assert "error.type" not in statements(seen)[0].attributes
    assert await (await async_connection.execute("SELECT 5")).fetchone() == (5,)


async def test_a_cancelled_statement_leaves_nothing_behind(
    async_connection: psycopg.AsyncConnection[Any], seen: Captured
) -> None:
    name = new_table()
    cancelled = counted(seen, "SELECT", "", "cancelled")
    before = get_current()
    after = []

    async def wait() -> None:
        try:
            await async_connection.execute(f"SELECT pg_sleep(60) AS {name}")
        finally:
            after.append(get_current())

    task = asyncio.create_task(wait())
    await until_running(name)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert after == [before]
    assert counted(seen, "SELECT", "", "cancelled") == cancelled + 1
    assert (seen.metric("db_query_errors_total", operation="SELECT", table="", type="asyncio.exceptions.CancelledError")
            is None)  # fmt: skip


def test_connections_from_before_are_watched_and_given_back(seen: Captured) -> None:
    wk.shutdown()
    name = new_table()
    original = {
        attribute: vars(psycopg.Cursor)[attribute] for attribute in ("execute", "executemany", "copy", "stream")
    }
    with psycopg.connect(POSTGRESQL) as connection:
        cursor = connection.cursor()
        with capture() as now:
            assert vars(psycopg.Cursor)["execute"] is not original["execute"]
            cursor.execute(f"SELECT 1 AS {name}")
            assert names(now) == ["SELECT"]
        assert {attribute: vars(psycopg.Cursor)[attribute] for attribute in original} == original
        cursor.execute("SELECT 1")
    assert names(now) == ["SELECT"]


def test_what_the_sampler_leaves_out_is_counted() -> None:
    name = new_table()
    options = wk.Options(traces=wk.TraceOptions(sampler="always_off"), logs=wk.LogOptions(stream="off"))
    with psycopg.connect(POSTGRESQL) as connection, capture(options) as seen:
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute(f"SELECT 1 FROM {name}")
        assert counted(seen, "SELECT", name, "error") == 1
        assert seen.spans == []
