"""Databases, really: PostgreSQL and MariaDB of this machine, and servers that are down, silent or refuse."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import aiomysql
import asyncpg
import psycopg
import psycopg_pool
import pymysql
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import watchkeeper as wk
from support.health import found, no_checks_left, silent_server
from support.ports import unused_port
from watchkeeper.health.checks.connections import Session, Target
from watchkeeper.health.checks.database import Database
from watchkeeper.health.monitor import monitor
from watchkeeper.health.registry import registry
from watchkeeper.health.results import CheckReport, HealthResult

POSTGRESQL = "postgresql://postgres@127.0.0.1/test"
MARIADB = "mysql://root@127.0.0.1/test"
MARIADB_ARGUMENTS = {"host": "127.0.0.1", "user": "root", "database": "test"}

SYNC: dict[str, Callable[[], Any]] = {
    "postgresql, engine": lambda: sqlalchemy.create_engine("postgresql+psycopg://postgres@127.0.0.1/test"),
    "postgresql, connections of an engine": lambda: (
        sqlalchemy.create_engine("postgresql+psycopg://postgres@127.0.0.1/test", poolclass=NullPool).connect
    ),
    "postgresql, psycopg": lambda: lambda: psycopg.connect(POSTGRESQL),
    "postgresql, url": lambda: POSTGRESQL,
    "postgresql, url with a driver": lambda: "postgresql+asyncpg://postgres@127.0.0.1/test",
    "mariadb, engine": lambda: sqlalchemy.create_engine("mariadb+pymysql://root@127.0.0.1/test"),
    "mariadb, pymysql": lambda: lambda: pymysql.connect(**MARIADB_ARGUMENTS),  # type: ignore[arg-type]
    "mariadb, rows as dicts": lambda: (
        lambda: pymysql.connect(
            **MARIADB_ARGUMENTS,  # type: ignore[arg-type]
            cursorclass=pymysql.cursors.DictCursor,
        )
    ),
    "mariadb, url": lambda: MARIADB,
}


async def found_in_a_loop(target: Any, **options: Any) -> CheckReport:
    """What the check finds in an application that has an event loop."""
    with no_checks_left(), wk.testing.capture():
        monitor.server_started()
        wk.check_database(target, **options)
        report = await asyncio.to_thread(lambda: wk.health(fresh=True))
        return report.checks["database"]


@pytest.mark.parametrize("kind", SYNC)
def test_a_database_that_answers_is_healthy_and_told_of(kind: str) -> None:
    target = SYNC[kind]()
    report = found("database", lambda: wk.check_database(target))
    getattr(target, "dispose", lambda: None)()
    assert (report.status, report.message, report.kind, report.critical) == ("healthy", "", "datastore", True)
    assert 0 < report.details["query_seconds"] < 0.5
    assert report.details["connect_seconds"] > 0
    if kind.startswith("postgresql"):
        assert report.details["size_bytes"] > 1_000_000
        assert report.details["replica"] is False
    else:
        assert report.details["size_bytes"] >= 0


async def test_async_engines_pools_and_functions_are_asked_on_their_own_loop() -> None:
    engine = create_async_engine("postgresql+asyncpg://postgres@127.0.0.1/test")
    mariadb_engine = create_async_engine("mysql+aiomysql://root@127.0.0.1/test")
    pool = await asyncpg.create_pool(POSTGRESQL, min_size=1, max_size=4)
    psycopgs_pool = psycopg_pool.AsyncConnectionPool(POSTGRESQL, min_size=1, max_size=4, open=False)
    await psycopgs_pool.open()
    mariadb_pool = await aiomysql.create_pool(minsize=1, maxsize=4, host="127.0.0.1", user="root", db="test")
    targets: list[Any] = [
        engine,
        mariadb_engine,
        pool,
        psycopgs_pool,
        mariadb_pool,
        lambda: asyncpg.connect(POSTGRESQL),
        lambda: psycopg.AsyncConnection.connect(POSTGRESQL),
        lambda: aiomysql.connect(host="127.0.0.1", user="root", db="test"),
    ]
    try:
        for target in targets:
            report = await found_in_a_loop(target)
            assert (report.status, report.message) == ("healthy", "")
            assert report.details["size_bytes"] >= 0
            assert ("pool_size" in report.details) == (not callable(target))
        async with engine.connect() as connection:  # the application's pool is as usable as before
            assert (await connection.execute(sqlalchemy.text("SELECT 1"))).scalar() == 1
        assert await pool.fetchval("SELECT 1") == 1
    finally:
        await engine.dispose()
        await mariadb_engine.dispose()
        await pool.close()
        await psycopgs_pool.close()
        mariadb_pool.close()
        await mariadb_pool.wait_closed()


def test_a_connection_is_given_back_or_closed() -> None:
    connections: list[Any] = []

    def connect() -> Any:
        connections.append(psycopg.connect(POSTGRESQL))
        return connections[-1]

    assert found("database", lambda: wk.check_database(connect)).status == "healthy"
    assert connections
    assert all(connection.closed for connection in connections)
    engine = sqlalchemy.create_engine("postgresql+psycopg://postgres@127.0.0.1/test", pool_size=1, max_overflow=0)
    assert found("database", lambda: wk.check_database(engine)).status == "healthy"
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    engine.dispose()


def test_a_database_of_another_kind_is_asked_by_its_answer_alone() -> None:
    report = found("database", lambda: wk.check_database(sqlalchemy.create_engine("sqlite://")))
    assert (report.status, set(report.details)) == ("healthy", {"connect_seconds", "query_seconds"})


def test_a_database_that_is_down_is_unhealthy_at_once() -> None:
    port = unused_port()
    for target in (
        f"postgresql://postgres:hunter22@127.0.0.1:{port}/test",
        f"mysql://root:hunter22@127.0.0.1:{port}/test",
    ):
        report = found("database", lambda target=target: wk.check_database(target))
        assert report.status == "unhealthy"
        assert "refused" in report.message
        assert "hunter22" not in report.message
        assert report.duration_seconds < 1


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_database_that_never_answers_is_timed_out(scheme: str) -> None:
    with silent_server() as port:
        url = f"{scheme}://root:hunter22@127.0.0.1:{port}/test"
        report = found("database", lambda: wk.check_database(url, timeout=0.3))
    assert (report.status, report.message) == ("unhealthy", "timed out after 0.3 s")


def test_a_refused_password_is_told_without_the_password() -> None:
    user, password = f"wk_{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    root = pymysql.connect(**MARIADB_ARGUMENTS)  # type: ignore[arg-type]
    try:
        with root.cursor() as cursor:
            cursor.execute(f"CREATE USER {user}@'%' IDENTIFIED BY 'right'")
        url = f"mysql://{user}:{password}@127.0.0.1/test"
        report = found("database", lambda: wk.check_database(url))
        assert report.status == "unhealthy"
        assert "Access denied" in report.message
        assert password not in report.message
    finally:
        with root.cursor() as cursor:
            cursor.execute(f"DROP USER {user}@'%'")
        root.close()


def test_a_password_is_taken_out_of_a_message_that_repeats_it() -> None:
    def connect() -> Any:
        raise OSError("cannot connect as shop with s3cr3t-word")

    with no_checks_left(), wk.testing.capture():
        wk.check_database("postgresql://shop:s3cr3t-word@127.0.0.1/test")
        registered = registry.checks()["database"]
        registered.function._target._given = connect  # type: ignore[attr-defined]
        report = wk.health(fresh=True).checks["database"]
    assert report.message == "OSError: cannot connect as shop with [redacted]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slow_seconds": 0.0}, "SELECT 1 took"),
    ],
)
def test_a_slow_answer_is_degraded(options: dict[str, Any], message: str) -> None:
    report = found("database", lambda: wk.check_database(POSTGRESQL, **options))
    assert report.status == "degraded"
    assert report.message.startswith(message)
    assert report.message.endswith("the limit is 0 s")


def test_a_pool_that_is_nearly_used_up_is_degraded_and_one_that_is_gets_no_more_to_do() -> None:
    engine = sqlalchemy.create_engine("postgresql+psycopg://postgres@127.0.0.1/test", pool_size=9, max_overflow=1)
    held: list[Any] = []
    try:
        for count, expected, message in (
            (8, "healthy", ""),
            (9, "degraded", "9 of 10 connections of the pool are in use"),
            (10, "degraded", "all 10 connections of the pool are in use"),
        ):
            held += [engine.connect() for _ in range(count - len(held))]
            began = time.monotonic()
            report = found("database", lambda: wk.check_database(engine))
            assert (report.status, report.message) == (expected, message)
            assert report.details["pool_active"] == count
            assert time.monotonic() - began < 2  # else it waited for a connection
    finally:
        for connection in held:
            connection.close()
        engine.dispose()


def test_a_pool_of_psycopgs_is_asked_by_a_connection_that_it_gets_back() -> None:
    with psycopg_pool.ConnectionPool(POSTGRESQL, min_size=1, max_size=4) as pool:
        pool.wait(10)
        report = found("database", lambda: wk.check_database(pool))
        assert (report.status, report.message) == ("healthy", "")
        assert (report.details["pool_size"], report.details["pool_active"]) == (4, 0)
        held = [pool.getconn() for _ in range(4)]
        began = time.monotonic()
        report = found("database", lambda: wk.check_database(pool))
        assert (report.status, report.message) == ("degraded", "all 4 connections of the pool are in use")
        assert time.monotonic() - began < 2  # else it waited for a connection
        for connection in held:
            pool.putconn(connection)


class Scripted(Session):
    """A session whose answers are given: a replica cannot be had here."""

    def __init__(self, dialect: str, row: dict[str, Any] | Exception | None) -> None:
        super().__init__(None, dialect)
        self._row = row
        self.undone = 0

    async def ask(self, sql: str) -> Any:  # noqa: ARG002  # the interface's
        if isinstance(self._row, Exception):
            raise self._row
        return self._row

    async def undo(self) -> None:
        self.undone += 1


@pytest.mark.parametrize(
    ("dialect", "row", "expected"),
    [
        ("postgresql", {"replica": False, "lag": None}, HealthResult(details={"replica": False})),
        (
            "postgresql",
            {"replica": True, "lag": 3},
            HealthResult(details={"replica": True, "replication_lag_seconds": 3.0}),
        ),
        (
            "postgresql",
            {"replica": True, "lag": 12.5},
            HealthResult(
                "degraded",
                "replication is 12 s behind, the limit is 10 s",
                {"replica": True, "replication_lag_seconds": 12.5},
            ),
        ),
        ("mysql", None, HealthResult()),
        (
            "mysql",
            {"Seconds_Behind_Source": 0},
            HealthResult(details={"replica": True, "replication_lag_seconds": 0.0}),
        ),
        (
            "mariadb",
            {"Seconds_Behind_Master": None},
            HealthResult("degraded", "replication does not run", {"replica": True}),
        ),
        ("mysql", PermissionError("you may not ask"), HealthResult()),
        ("sqlite", {"lag": 99}, HealthResult()),
    ],
)
async def test_replication_is_judged_by_its_lag(dialect: str, row: Any, expected: HealthResult) -> None:
    session = Scripted(dialect, row)
    assert await Database(Target(POSTGRESQL, 1.0))._replication(session) == expected
    assert session.undone == isinstance(row, Exception)


def test_the_questions_about_replication_are_understood() -> None:
    with psycopg.connect(POSTGRESQL) as connection, connection.cursor() as cursor:
        from watchkeeper.health.checks.database import _LAG  # noqa: PLC0415

        cursor.execute(_LAG["postgresql"].encode())
        assert cursor.fetchone() == (False, None)
    root = pymysql.connect(**MARIADB_ARGUMENTS)  # type: ignore[arg-type]
    with root.cursor() as other:
        other.execute(_LAG["mariadb"])
        assert other.fetchone() is None
    root.close()


def test_a_user_who_may_not_ask_for_more_still_learns_that_it_answers() -> None:
    user = f"wk_{uuid.uuid4().hex[:12]}"
    root = pymysql.connect(**MARIADB_ARGUMENTS)  # type: ignore[arg-type]
    try:
        with root.cursor() as cursor:
            cursor.execute(f"CREATE USER {user}@'%'")
        connect = lambda: pymysql.connect(host="127.0.0.1", user=user)  # noqa: E731
        report = found("database", lambda: wk.check_database(connect))
        assert (report.status, report.message) == ("healthy", "")
    finally:
        with root.cursor() as cursor:
            cursor.execute(f"DROP USER {user}@'%'")
        root.close()


@pytest.fixture
def sized() -> Iterator[list[str]]:
    """What an engine is asked."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://postgres@127.0.0.1/test")
    asked: list[str] = []
    sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    with no_checks_left(), wk.testing.capture():
        wk.check_database(engine)
        for _ in range(3):
            wk.health(fresh=True)
        yield asked
    engine.dispose()


def test_the_size_is_not_added_up_at_each_check(sized: list[str]) -> None:
    assert sum("pg_database_size" in sql for sql in sized) == 1
    assert sum(sql == "SELECT 1" for sql in sized) >= 3


def test_checks_make_neither_spans_nor_counted_queries() -> None:
    engine = sqlalchemy.create_engine("postgresql+psycopg://postgres@127.0.0.1/test")
    with no_checks_left(), wk.testing.capture() as seen:
        wk.check_database(engine)
        assert wk.health(fresh=True).status == "healthy"
        assert seen.spans == []
    engine.dispose()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (7, "check_database got a int: give it an SQLAlchemy engine, a pool"),
        ("oracle://x", "check_database got a URL that begins with 'oracle': use postgresql:// or mysql://"),
        ("host=db password=hunter22", "check_database got a URL that begins with ''"),
    ],
)
def test_what_cannot_be_asked_is_refused_without_its_secrets(target: Any, message: str) -> None:
    with pytest.raises(wk.ConfigurationError, match=message) as refused:
        wk.check_database(target)
    assert "hunter22" not in str(refused.value)
