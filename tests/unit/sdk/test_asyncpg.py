"""asyncpg, against PostgreSQL."""
# ruff: noqa: S608  # the names in these statements are the tests' own

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from opentelemetry.trace import StatusCode

import watchkeeper as wk
from support.databases import POSTGRESQL, counted, inserted, names, new_table, statements, until_running
from watchkeeper.context import get_current
from watchkeeper.testing import Captured, capture


@pytest.fixture
async def connection(seen: Captured) -> AsyncIterator[Any]:
    made = await asyncpg.connect(POSTGRESQL)
    yield made
    await made.close()


@pytest.fixture
async def table(connection: Any, seen: Captured) -> AsyncIterator[str]:
    name = new_table()
    await connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY)")
    seen.spans.clear()
    yield name
    await connection.execute(f"DROP TABLE {name}")


async def test_every_way_to_execute_is_one_span_and_one_count(connection: Any, table: str, seen: Captured) -> None:
    assert inspect.iscoroutinefunction(asyncpg.Connection.fetch)
    with wk.span("work") as work:
        assert await connection.execute(f"INSERT INTO {table} VALUES (1)") == "INSERT 0 1"
        assert await connection.execute(f"INSERT INTO {table} VALUES ($1)", 2) == "INSERT 0 1"
        assert len(await connection.fetch(f"SELECT id FROM {table}")) == 2
        assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE id < $1", 2) == 1
        assert (await connection.fetchrow(f"SELECT id FROM {table} WHERE id = 2"))["id"] == 2
        await connection.executemany(f"INSERT INTO {table} VALUES ($1)", [(3,), (4,)])
        rows = await connection.fetchmany(f"INSERT INTO {table} VALUES ($1) RETURNING id", [(5,), (6,)])
        assert [row["id"] for row in rows] == [5, 6]
    insert, batch, chosen = f"INSERT {table}", f"BATCH INSERT {table}", f"SELECT {table}"
    assert names(seen) == [insert, insert, chosen, chosen, chosen, batch, batch]
    assert {span.parent_id for span in statements(seen)} == {work.span_id}
    assert statements(seen)[5].attributes["db.operation.batch.size"] == 2
    assert counted(seen, "INSERT", table) == 4
    assert counted(seen, "SELECT", table) == 3
    attributes = statements(seen)[0].attributes
    assert attributes == inserted(table, f"INSERT INTO {table} VALUES (?)")


async def test_prepared_statements_are_counted_when_they_are_executed(
    connection: Any, table: str, seen: Captured
) -> None:
    prepared = await connection.prepare(f"SELECT $1::int FROM {table}")
    inserting = await connection.prepare(f"INSERT INTO {table} VALUES ($1)")
    assert names(seen) == []
    await inserting.executemany([(1,), (2,)])
    assert await prepared.fetchval(7) == 7
    assert len(await prepared.fetch(7)) == 2
    assert (await prepared.fetchrow(7))[0] == 7
    assert names(seen) == [f"BATCH INSERT {table}", *[f"SELECT {table}"] * 3]


async def test_a_cursor_is_one_statement_however_much_is_fetched(connection: Any, table: str, seen: Captured) -> None:
    await connection.executemany(f"INSERT INTO {table} VALUES ($1)", [(at,) for at in range(120)])
    prepared = await connection.prepare(f"SELECT id FROM {table}")
    async with connection.transaction():
        assert len([row async for row in connection.cursor(f"SELECT id FROM {table}", prefetch=10)]) == 120
        cursor = await connection.cursor(f"SELECT id FROM {table}")
        assert (len(await cursor.fetch(5)), (await cursor.fetchrow())["id"]) == (5, 5)
        assert len([row async for row in prepared.cursor()]) == 120
    assert names(seen)[1:] == ["BEGIN", *[f"SELECT {table}"] * 3, "COMMIT"]
    with pytest.raises(asyncpg.NoActiveSQLTransactionError):
        await connection.cursor(f"SELECT id FROM {table}")


async def test_copies_are_statements(connection: Any, table: str, seen: Captured) -> None:
    await connection.copy_records_to_table(table, records=[(1,), (2,)], schema_name="public")
    await connection.copy_to_table(table, source=io.BytesIO(b"3\n"))
    output = io.BytesIO()
    await connection.copy_from_table(table, output=output)
    await connection.copy_from_query(f"SELECT id FROM {table} WHERE id < $1", 3, output=output)
    assert output.getvalue() == b"1\n2\n3\n1\n2\n"
    assert names(seen) == [f"COPY public.{table}", f"COPY {table}", f"COPY {table}", f"COPY SELECT {table}"]


async def test_a_failure_is_recorded_and_raised_as_it_was(connection: Any, table: str, seen: Captured) -> None:
    await connection.execute(f"INSERT INTO {table} VALUES (4711)")
    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await connection.execute(f"INSERT INTO {table} VALUES (4711)")
    assert caught.value.detail == "Key (id)=(4711) already exists."
    span = statements(seen)[-1]
    assert span.status_code is StatusCode.ERROR
    assert span.attributes["db.response.status_code"] == "23505"
    assert span.attributes["error.type"] == "asyncpg.exceptions.UniqueViolationError"
    assert "4711" not in str(span.events)
    assert counted(seen, "INSERT", table, "error") == 1


async def test_a_cancelled_statement_leaves_nothing_behind(connection: Any, seen: Captured) -> None:
    name = new_table()
    cancelled = counted(seen, "SELECT", "", "cancelled")
    before, after = get_current(), []

    async def wait() -> None:
        try:
            await connection.fetch(f"SELECT pg_sleep(60) AS {name}")
        finally:
            after.append(get_current())

    task = asyncio.create_task(wait())
    await until_running(name)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert after == [before]
    assert counted(seen, "SELECT", "", "cancelled") == cancelled + 1
    assert await connection.fetchval("SELECT 1") == 1


async def test_tasks_do_not_mix_their_statements(table: str, seen: Captured) -> None:
    async with asyncpg.create_pool(POSTGRESQL, min_size=1, max_size=4) as pool:

        async def work(name: str) -> None:
            with wk.span(name):
                for _ in range(5):
                    await pool.fetch(f"SELECT 1 AS {name} FROM {table}")

        await asyncio.gather(*(work(f"task_{at}") for at in range(8)))
    for at in range(8):
        mine = [span for span in statements(seen) if f"task_{at}" in span.attributes["db.query.text"]]
        assert {span.parent_id for span in mine} == {seen.span(f"task_{at}").span_id}
        assert len(mine) == 5
    assert len(statements(seen)) == 40  # what the pool says when a connection comes back is none of them


async def test_pools_and_connections_from_before_are_watched_and_given_back(seen: Captured) -> None:
    wk.shutdown()
    original = dict(vars(asyncpg.Connection))
    async with asyncpg.create_pool(POSTGRESQL, min_size=1, max_size=1) as pool:
        with capture() as now:
            async with pool.acquire() as connection:
                await connection.fetch("SELECT 1")
            assert names(now) == ["SELECT"]
        assert dict(vars(asyncpg.Connection)) == original
        await pool.fetch("SELECT 1")
    assert names(now) == ["SELECT"]
