"""SQLAlchemy, against the servers it speaks to."""
# ruff: noqa: S608  # the names in these statements are the tests' own

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import ForeignKey, event, select, text
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

import watchkeeper as wk
from support.databases import (
    AIOMYSQL_URL,
    ASYNCPG_URL,
    PSYCOPG_URL,
    PYMYSQL_URL,
    counted,
    names,
    new_table,
    statements,
    until_running,
)
from watchkeeper.context import get_current
from watchkeeper.integrations import sqlalchemy as integration
from watchkeeper.integrations.part import requests
from watchkeeper.testing import Captured, capture

SYNC = [PSYCOPG_URL, PYMYSQL_URL, "sqlite://"]
ASYNC = [PSYCOPG_URL, ASYNCPG_URL, AIOMYSQL_URL]


@pytest.fixture(params=SYNC)
def engine(request: pytest.FixtureRequest, seen: Captured) -> Iterator[Engine]:
    made = sqlalchemy.create_engine(request.param)
    with made.connect():  # which asks the server about itself
        pass
    yield made
    made.dispose()


@pytest.fixture
def table(engine: Engine) -> Iterator[sqlalchemy.Table]:
    made = sqlalchemy.Table(
        new_table(),
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True, autoincrement=False),
        sqlalchemy.Column("name", sqlalchemy.String(40)),
    )
    made.create(engine)
    yield made
    made.drop(engine)


def test_a_statement_is_one_span_below_the_current_one_and_one_count(
    engine: Engine, table: sqlalchemy.Table, seen: Captured
) -> None:
    with wk.span("work") as work, engine.begin() as connection:
        connection.execute(table.insert().values(id=1, name="secret"))
        rows = connection.execute(select(table.c.name).where(table.c.id == 1)).all()
    assert rows == [("secret",)]
    assert names(seen, table.name)[-2:] == [f"INSERT {table.name}", f"SELECT {table.name}"]
    for span in statements(seen, table.name)[-2:]:
        assert (span.kind, span.parent_id, span.status_code) == (SpanKind.CLIENT, work.span_id, StatusCode.UNSET)
        assert "secret" not in str(span.attributes)
    attributes = statements(seen, table.name)[-1].attributes
    assert attributes["db.operation.name"] == "SELECT"
    assert attributes["db.collection.name"] == table.name
    assert attributes["db.query.summary"] == f"SELECT {table.name}"
    assert attributes["db.query.text"].startswith(f"SELECT {table.name}.name FROM {table.name} WHERE")
    assert counted(seen, "INSERT", table.name) == counted(seen, "SELECT", table.name) == 1
    assert seen.metric("db_query_duration_seconds_count", operation="SELECT", table=table.name) == 1


def test_a_span_tells_which_database_was_asked(engine: Engine, seen: Captured) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    attributes = statements(seen)[-1].attributes
    expected = {
        "postgresql": {"server.address": "127.0.0.1", "server.port": 5432, "db.namespace": "test"},
        "mysql": {"server.address": "127.0.0.1", "server.port": 3306, "db.namespace": "test"},
        "sqlite": {},
    }[engine.dialect.name]
    system = {"mysql": "mariadb"}.get(engine.dialect.name, engine.dialect.name)
    found = {key: attributes[key] for key in attributes if key.startswith("server.") or key == "db.namespace"}
    assert (attributes["db.system.name"], found) == (system, expected)


def test_a_failure_is_recorded_and_raised_as_it_was(engine: Engine, table: sqlalchemy.Table, seen: Captured) -> None:
    row = table.insert().values(id=1, name="secret")
    with engine.begin() as connection:
        connection.execute(row)
    with pytest.raises(sqlalchemy.exc.IntegrityError) as caught, engine.begin() as connection:
        connection.execute(row)
    span = statements(seen, table.name)[-1]
    assert span.status_code is StatusCode.ERROR
    code = {"postgresql": "23505", "mysql": "1062", "sqlite": "SQLITE_CONSTRAINT_PRIMARYKEY"}[engine.dialect.name]
    assert span.attributes["db.response.status_code"] == code
    original = caught.value.orig
    error_type = f"{type(original).__module__}.{type(original).__qualname__}"
    assert span.attributes["error.type"] == error_type
    (failure,) = span.events or []
    assert failure.attributes["exception.type"] == error_type
    assert "secret" not in str(failure.attributes)
    assert counted(seen, "INSERT", table.name, "error") == 1
    errors = seen.metric("db_query_errors_total", operation="INSERT", table=table.name, type=error_type)
    assert errors == 1


def test_many_rows_are_one_span_that_says_how_many(engine: Engine, table: sqlalchemy.Table, seen: Captured) -> None:
    with engine.begin() as connection:
        statement = text(f"INSERT INTO {table.name} (id, name) VALUES (:id, :name)")
        connection.execute(statement, [{"id": at, "name": "x"} for at in range(3)])
    span = statements(seen, table.name)[-1]
    assert span.name == f"BATCH INSERT {table.name}"
    assert span.attributes["db.operation.batch.size"] == 3
    assert counted(seen, "INSERT", table.name) == 1


def test_the_orm_is_seen_at_work(engine: Engine, seen: Captured) -> None:
    class Base(DeclarativeBase):
        pass

    class Author(Base):
        __tablename__ = new_table()
        id: Mapped[int] = mapped_column(primary_key=True)
        books: Mapped[list[Any]] = relationship("Book")

    class Book(Base):
        __tablename__ = new_table()
        id: Mapped[int] = mapped_column(primary_key=True)
        author: Mapped[int] = mapped_column(ForeignKey(f"{Author.__tablename__}.id"))

    Base.registry._class_registry["Book"] = Book
    Base.metadata.create_all(engine)
    try:
        with Session(engine) as session:
            session.add_all([Author(id=at, books=[Book(id=at)]) for at in (1, 2)])
            session.commit()
            session.expunge_all()
            assert [len(author.books) for author in session.scalars(select(Author))] == [1, 1]
        lazy = [span for span in statements(seen, Book.__tablename__) if span.name.startswith("SELECT")]
        assert len(lazy) == 2
        assert counted(seen, "SELECT", Book.__tablename__) == 2
    finally:
        Base.metadata.drop_all(engine)


def test_rows_that_are_streamed_are_one_statement(engine: Engine, table: sqlalchemy.Table, seen: Captured) -> None:
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"id": at, "name": "x"} for at in range(50)])
    with engine.connect().execution_options(stream_results=True, yield_per=10) as connection:
        assert len(list(connection.execute(select(table)))) == 50
    assert names(seen, table.name).count(f"SELECT {table.name}") == 1
    assert counted(seen, "SELECT", table.name) == 1


def test_what_the_sampler_leaves_out_is_counted() -> None:
    engine = sqlalchemy.create_engine(PSYCOPG_URL)
    name = new_table()
    options = wk.Options(traces=wk.TraceOptions(sampler="always_off"), logs=wk.LogOptions(stream="off"))
    with capture(options) as seen:
        with engine.connect() as connection:
            connection.execute(text(f"SELECT 1 FROM (SELECT 2) AS x, pg_class AS {name} LIMIT 1"))
        assert counted(seen, "SELECT", "pg_class") >= 1
        assert seen.spans == []
    engine.dispose()


def test_threads_do_not_mix_their_statements(seen: Captured) -> None:
    engine = sqlalchemy.create_engine(PSYCOPG_URL, pool_size=4)

    def work(name: str) -> None:
        with wk.span(name), engine.connect() as connection:
            for _ in range(20):
                connection.execute(text(f"SELECT 1 AS {name}"))

    threads = [threading.Thread(target=work, args=(f"thread_{at}",)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()
    for at in range(4):
        parent = seen.span(f"thread_{at}")
        mine = [span for span in statements(seen) if f"thread_{at}" in span.attributes["db.query.text"]]
        assert {span.parent_id for span in mine} == {parent.span_id}
        assert len(mine) == 20


def test_engines_and_connections_from_before_are_watched() -> None:
    engine = sqlalchemy.create_engine(PSYCOPG_URL)
    name = new_table()
    with engine.connect() as connection, capture() as seen:
        connection.execute(text(f"SELECT 1 AS {name}"))
        assert [name in span.attributes["db.query.text"] for span in statements(seen)] == [True]
    engine.dispose()


def test_nothing_is_left_after_uninstall() -> None:
    integration.uninstall()
    before = {
        name: list(getattr(Engine.dispatch, name)._clslevel.get(Engine, ()))
        for name in ("before_cursor_execute", "after_cursor_execute")
    }
    engine = sqlalchemy.create_engine("sqlite://")
    with capture() as seen:
        assert list(Engine.dispatch.before_cursor_execute._clslevel[Engine]) != before["before_cursor_execute"]
    assert {name: list(getattr(Engine.dispatch, name)._clslevel[Engine]) for name in before} == before
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    assert seen.spans == []
    assert not any(
        fn is integration._failed
        for fn in sqlalchemy.engine.Dialect.dispatch.handle_error._clslevel[type(engine.dialect)]
    )


def test_the_applications_listeners_are_heard_and_may_change_statements(seen: Captured) -> None:
    engine = sqlalchemy.create_engine("sqlite://")

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def comment(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_rest: Any) -> tuple[str, Any]:
        return sql.replace("1", "2"), parameters

    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 2


@pytest.mark.parametrize("when", ["before_cursor_execute", "handle_error"])
def test_a_listener_that_raises_leaves_nothing_behind(when: str, seen: Captured) -> None:
    engine = sqlalchemy.create_engine(PSYCOPG_URL)
    with engine.connect():
        pass

    class RefusedError(Exception):
        pass

    def refuse(*_args: Any) -> None:
        raise RefusedError

    event.listen(engine, when, refuse)
    before = get_current()
    with engine.connect() as connection, pytest.raises(RefusedError):
        connection.execute(text("SELECT 1 FROM nowhere"))
    assert get_current() == before
    assert statements(seen)[-1].status_code is StatusCode.ERROR
    event.remove(engine, when, refuse)
    engine.dispose()


def test_failures_of_which_sqlalchemy_tells_nobody_leave_nothing_behind(seen: Captured) -> None:
    engine = sqlalchemy.create_engine(PYMYSQL_URL)
    before = get_current()
    with engine.connect() as connection:
        asking = connection.execution_options(skip_user_error_events=True)
        with pytest.raises(sqlalchemy.exc.ProgrammingError):
            asking.exec_driver_sql(f"SHOW CREATE TABLE {new_table()}")
        assert get_current() == before
    engine.dispose()
    assert statements(seen)[-1].name == "SHOW"  # the driver's, once
    assert names(seen).count("SHOW") == 1


@pytest.mark.parametrize("url", ASYNC)
async def test_an_async_engines_statement_is_one_span_and_one_count(url: str, seen: Captured) -> None:
    engine, name = create_async_engine(url), new_table()
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE TABLE {name} (id int PRIMARY KEY)"))
    try:
        with wk.span("work") as work:
            async with AsyncSession(engine) as session:
                await session.execute(text(f"INSERT INTO {name} (id) VALUES (1)"))
                await session.commit()
                with pytest.raises(sqlalchemy.exc.IntegrityError):
                    await session.execute(text(f"INSERT INTO {name} (id) VALUES (1)"))
                await session.rollback()
            async with engine.connect() as connection:
                rows = await connection.stream(text(f"SELECT id FROM {name}"))
                assert [row async for row in rows] == [(1,)]
        assert names(seen, name) == [
            f"CREATE {name}", f"INSERT {name}", f"INSERT {name}", f"SELECT {name}"
        ]  # fmt: skip
        assert {span.parent_id for span in statements(seen, name)[1:]} == {work.span_id}
        assert counted(seen, "INSERT", name) == counted(seen, "INSERT", name, "error") == 1
        assert counted(seen, "SELECT", name) == 1
        failed = statements(seen, name)[2]
        assert failed.attributes["db.response.status_code"] == ("1062" if "mysql" in url else "23505")
        assert failed.attributes["error.type"].startswith(("psycopg.", "asyncpg.", "pymysql."))
    finally:
        async with engine.begin() as connection:
            await connection.execute(text(f"DROP TABLE {name}"))
        await engine.dispose()


@pytest.mark.parametrize("url", [PSYCOPG_URL, ASYNCPG_URL])
async def test_a_cancelled_statement_is_counted_as_that_and_leaves_nothing_behind(url: str, seen: Captured) -> None:
    engine, name = create_async_engine(url), new_table()
    cancelled = counted(seen, "SELECT", "", "cancelled")
    async with engine.connect() as connection:

        async def wait() -> None:
            before = get_current()
            try:
                await connection.execute(text(f"SELECT pg_sleep(60) AS {name}"))
            finally:
                assert get_current() == before

        task = asyncio.create_task(wait())
        await until_running(name)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await engine.dispose()
    span = next(span for span in statements(seen) if "pg_sleep" in span.attributes["db.query.text"])
    assert span.status_code is StatusCode.UNSET
    assert span.attributes["error.type"] == "asyncio.exceptions.CancelledError"
    assert counted(seen, "SELECT", "", "cancelled") == cancelled + 1


def test_where_opentelemetrys_instrumentation_is_on_it_makes_the_span_and_we_count() -> None:
    program = f"""
        import psycopg, sqlalchemy
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
        from watchkeeper import testing
        engine = sqlalchemy.create_engine("{PSYCOPG_URL}")
        with testing.capture() as seen:
            SQLAlchemyInstrumentor().instrument(engine=engine, skip_dep_check=True)
            with engine.connect() as connection:
                seen.spans.clear()
                connection.execute(sqlalchemy.text("SELECT 1 FROM pg_database"))
            made = [span.scope.name for span in seen.spans if span.name.startswith("SELECT")]
            print(*made, seen.metric("db_queries_total", operation="SELECT", table="pg_database", status="ok"))
    """
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "opentelemetry.instrumentation.sqlalchemy 1.0", ran.stdout


def test_opentelemetrys_instrumentation_of_the_driver_is_told_to_stay_silent(seen: Captured) -> None:
    engine, enabled = sqlalchemy.create_engine("sqlite://"), []

    @event.listens_for(engine, "before_cursor_execute")
    def inside(*_args: Any) -> None:
        enabled.append(is_instrumentation_enabled())

    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    assert (enabled, is_instrumentation_enabled()) == ([False], True)
    engine.dispose()


def test_a_statement_that_is_kept_keeps_neither_connection_nor_context(
    seen: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(requests.settings, "on_call", kept.append)
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    (execution,) = kept
    assert (execution.connection, execution.cursor) == (None, None)
    assert not hasattr(execution, "_token")
    engine.dispose()
