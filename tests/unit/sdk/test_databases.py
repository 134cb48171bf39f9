"""Slow statements, repeated ones, and what judges them."""
# ruff: noqa: S608  # the names in these statements are the tests' own

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from fastapi import FastAPI, WebSocket
from flask import Flask
from opentelemetry.trace import StatusCode
from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.pool import StaticPool

import watchkeeper as wk
from support.databases import counted, new_table, statements
from support.sdk import request
from watchkeeper.databases import repetition
from watchkeeper.databases.options import DatabaseOptions
from watchkeeper.databases.queries import Query
from watchkeeper.databases.reminders import MOST_REMEMBERED, QUIET_SECONDS
from watchkeeper.databases.statements import ansi_statements
from watchkeeper.databases.targets import OTHER_SQL, target
from watchkeeper.testing import Captured, FakeClock, capture


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    yield made
    made.dispose()


def ask(engine: Engine, name: str, times: int, first: int = 0) -> None:
    with engine.connect() as connection:
        for at in range(first, first + times):
            connection.execute(text(f"SELECT {at} AS {name}"))


def repeated(seen: Captured, route: str) -> float:
    return seen.metric("db_n_plus_one_total", route=route) or 0.0


# Repeated statements


@pytest.mark.parametrize("kind", ["async", "in a thread"])
async def test_a_statement_repeated_within_a_request_is_counted_once_and_said_once(
    kind: str, engine: Engine, seen: Captured
) -> None:
    app, name = FastAPI(), new_table()
    route = f"/{name}/{{order}}"
    if kind == "async":

        @app.get(route)
        async def orders(order: int) -> None:
            ask(engine, name, 25)

    else:

        @app.get(route)
        def orders_in_a_thread(order: int) -> None:
            ask(engine, name, 25)

    wk.instrument(app)
    await request(app, f"/{name}/1")
    assert repeated(seen, route) == 1
    (line,) = [record for record in seen.records if "was executed" in record.message]
    assert line.message == "SELECT was executed 25 times in one request: ask for all rows at once"
    assert line.fields["statement"] == f"SELECT ? AS {name}"
    assert (line.fields["count"], line.fields["route"]) == (25, route)
    server = seen.span(f"GET {route}")
    assert (line.trace_id, line.span_id) == (server.trace_id, server.span_id)
    (event,) = server.events or []
    assert event.name == "db.n_plus_one"
    assert event.attributes["db.query.text"] == f"SELECT ? AS {name}"
    assert event.attributes["db.query.count"] == 25
    await request(app, f"/{name}/2")
    assert repeated(seen, route) == 2


async def test_a_repetition_is_said_at_most_once_a_minute(engine: Engine) -> None:
    app, name, clock = FastAPI(), new_table(), FakeClock()

    @app.get(f"/{name}")
    async def orders() -> None:
        ask(engine, name, 10)

    wk.instrument(app)
    with capture(clock=clock.clock()) as seen:
        for lines in (1, 1, 1, 2):
            await request(app, f"/{name}")
            assert len([record for record in seen.records if "was executed" in record.message]) == lines
            clock.advance(QUIET_SECONDS / 3)
        assert repeated(seen, f"/{name}") == 4


async def test_each_repeated_statement_counts_and_none_below_the_limit(engine: Engine, seen: Captured) -> None:
    app, name = FastAPI(), new_table()

    @app.get(f"/{name}")
    async def orders() -> None:
        ask(engine, f"{name}_a", 10)
        ask(engine, f"{name}_b", 12)
        ask(engine, f"{name}_c", 9)

    wk.instrument(app)
    await request(app, f"/{name}")
    assert repeated(seen, f"/{name}") == 2
    await request(app, f"/{name}")
    assert repeated(seen, f"/{name}") == 4


def test_requests_by_wsgi_likewise(engine: Engine, seen: Captured) -> None:
    app, name = Flask(__name__), new_table()

    @app.get(f"/{name}")
    def orders() -> str:
        ask(engine, name, 10)
        return ""

    wk.instrument(app)
    app.test_client().get(f"/{name}")
    assert repeated(seen, f"/{name}") == 1
    assert [event.name for event in seen.span(f"GET /{name}").events or ()] == ["db.n_plus_one"]


async def test_other_requests_and_the_time_between_them_do_not_add_up(engine: Engine, seen: Captured) -> None:
    app, name = FastAPI(), new_table()

    @app.get(f"/{name}")
    async def orders() -> None:
        ask(engine, name, 9)

    wk.instrument(app)
    for _ in range(3):
        await request(app, f"/{name}")
        ask(engine, name, 9)
    assert repeated(seen, f"/{name}") == 0


async def test_a_request_that_fails_tells_of_its_statements_too(engine: Engine, seen: Captured) -> None:
    app, name = FastAPI(), new_table()

    @app.get(f"/{name}")
    async def orders() -> None:
        ask(engine, name, 10)
        raise RuntimeError

    wk.instrument(app)
    await request(app, f"/{name}")
    assert repeated(seen, f"/{name}") == 1


async def test_unsampled_requests_are_counted(engine: Engine) -> None:
    app, name = FastAPI(), new_table()

    @app.get(f"/{name}")
    async def orders() -> None:
        ask(engine, name, 10)

    wk.instrument(app)
    options = wk.Options(traces=wk.TraceOptions(sampler="always_off"), logs=wk.LogOptions(stream="off"))
    with capture(options) as seen:
        await request(app, f"/{name}")
        assert repeated(seen, f"/{name}") == 1
        assert len([record for record in seen.records if "was executed" in record.message]) == 1


@pytest.mark.parametrize(("limit", "expected"), [(0, 0), (3, 1), (4, 0)])
async def test_the_limit_is_an_option(limit: int, expected: int, engine: Engine) -> None:
    app, name = FastAPI(), new_table()

    @app.get(f"/{name}")
    async def orders() -> None:
        ask(engine, name, 3)

    wk.instrument(app)
    databases = DatabaseOptions(n_plus_one=limit)
    with capture(wk.Options(databases=databases, logs=wk.LogOptions(stream="off"))) as seen:
        await request(app, f"/{name}")
        assert repeated(seen, f"/{name}") == expected


async def test_the_tally_of_a_request_is_bounded(
    engine: Engine, seen: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repetition, "MOST_STATEMENTS", 5)
    app, name = FastAPI(), new_table()
    tallies: list[Any] = []

    @app.get(f"/{name}")
    async def orders() -> None:
        for at in range(8):
            ask(engine, f"{name}_{at}", 10)
        tallies.append(wk.context.current_request().queries)  # type: ignore[union-attr]

    wk.instrument(app)
    await request(app, f"/{name}")
    assert len(tallies[0]._counts) == 5
    assert repeated(seen, f"/{name}") == 5


async def test_transactions_are_no_repetition(seen: Captured) -> None:
    tally = repetition.Tally()
    for sql in ("BEGIN", "COMMIT;", "SAVEPOINT a", "ROLLBACK TO SAVEPOINT a", "RELEASE SAVEPOINT a"):
        for _ in range(10):
            tally.add(ansi_statements.of(sql), 10)
    assert tally._repeated is None


async def test_a_connection_that_lives_long_is_no_request(engine: Engine, seen: Captured) -> None:
    app, name = FastAPI(), new_table()

    @app.websocket(f"/{name}")
    async def orders(socket: WebSocket) -> None:
        await socket.accept()
        ask(engine, name, 20)
        await socket.close()

    wk.instrument(app)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": f"/{name}", "headers": [], "query_string": b"", "subprotocols": []}
    await app(scope, receive, send)
    assert sent[-1]["type"] == "websocket.close"
    assert len(statements(seen)) == 20
    assert [record.message for record in seen.records if "was executed" in record.message] == []


# Slow statements


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def slow_engine(engine: Engine, clock: FakeClock) -> Engine:
    """`takes(x)` lets so many seconds pass."""

    def takes(seconds: float) -> float:
        clock.advance(seconds)
        return seconds

    raw: Any = engine.raw_connection()
    raw.driver_connection.create_function("takes", 1, takes)
    raw.close()
    return engine


def slow_lines(seen: Captured) -> list[Any]:
    return [record for record in seen.records if record.fields.get("slow")]


def test_a_slow_statement_is_counted_and_said_at_most_once_a_minute(slow_engine: Engine, clock: FakeClock) -> None:
    name = new_table()
    with capture(clock=clock.clock()) as seen, slow_engine.connect() as connection:
        before = seen.metric("db_slow_queries_total", operation="SELECT", table="") or 0.0

        def take(seconds: float, column: str = name) -> None:
            connection.execute(text(f"SELECT takes({seconds}) AS {column}")).all()

        take(0.499)
        assert slow_lines(seen) == []
        with wk.span("work"):
            take(0.5)
        take(3)
        take(1, f"{name}_other")
        first, other = slow_lines(seen)
        assert first.message == "SELECT took 0.5 seconds"
        assert first.fields["summary"] == "SELECT"
        assert first.fields["statement"] == f"SELECT takes(?) AS {name}"
        assert first.fields["duration_seconds"] == pytest.approx(0.5)
        slow = next(span for span in statements(seen) if span.parent_id == seen.span("work").span_id)
        assert (first.trace_id, first.span_id) == (slow.trace_id, slow.span_id)
        assert other.fields["statement"] == f"SELECT takes(?) AS {name}_other"
        assert seen.metric("db_slow_queries_total", operation="SELECT", table="") == before + 3
        clock.advance(QUIET_SECONDS)
        take(2)
        assert [line.fields["duration_seconds"] for line in slow_lines(seen)] == pytest.approx([0.5, 1, 2])


def test_what_is_slow_is_an_option(slow_engine: Engine, clock: FakeClock) -> None:
    for seconds, expected in ((0.0, 0), (10.0, 0), (1.0, 1)):
        options = wk.Options(databases=DatabaseOptions(slow_query_seconds=seconds), logs=wk.LogOptions(stream="off"))
        with capture(options, clock=clock.clock()) as seen, slow_engine.connect() as connection:
            connection.execute(text("SELECT takes(2)")).all()
            assert len(slow_lines(seen)) == expected


def test_time_that_is_the_applications_own_makes_no_statement_slow(clock: FakeClock) -> None:
    with capture(clock=clock.clock()) as seen:
        statement = ansi_statements.of("COPY t FROM STDIN")
        query = Query(target("postgresql"), statement, timed=False)
        clock.advance(60)
        query.end()
        assert slow_lines(seen) == []
        assert query.seconds == 60


def test_what_was_said_of_slow_statements_is_forgotten_in_time(clock: FakeClock) -> None:
    with capture(clock=clock.clock()) as seen:
        for at in range(1_500):
            query = Query(target("postgresql"), ansi_statements.of(f"SELECT column_{at}"))
            clock.advance(1)
            query.end()
        assert len(repetition.reminders) <= MOST_REMEMBERED
        assert len(slow_lines(seen)) == 1_500


# The end of a statement


def test_a_statement_ends_once(seen: Captured) -> None:
    name = new_table()
    query = Query(target("postgresql"), ansi_statements.of(f"SELECT 1 FROM {name}"))
    with query:
        pass
    query.end(ValueError())
    assert counted(seen, "SELECT", name) == 1
    assert counted(seen, "SELECT", name, "error") == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_leaving_is_no_failure(error: BaseException, seen: Captured) -> None:
    name = new_table()
    query = Query(target("postgresql"), ansi_statements.of(f"SELECT 1 FROM {name}"))
    query.end(error)
    assert counted(seen, "SELECT", name, "cancelled") == 1
    assert statements(seen)[0].status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Duplicate entry 'a@b.c' for key 'email'", "Duplicate entry ? for key ?"),
        ('invalid input syntax for type integer: "abc"', "invalid input syntax for type integer: ?"),
        ('relation "orders" does not exist\nLINE 1: SELECT secret', 'relation "orders" does not exist'),
        ("Duplicate entry 'o'brien@b.c' for key 'e'", "Duplicate entry ? for key ?"),
        ("Incorrect integer value: 'a\nb' for column `n` at row 1",
         "Incorrect integer value: ? for column `n` at row 1"),
        ("right syntax to use near 'FRM t WHERE a = 'b' AND c = 'd'' at line 1",
         "right syntax to use near ? at line 1"),
        ("Table 'test.orders' doesn't exist", "Table ? doesn't exist"),
        ("Unknown column 'a' in 'SELECT'", "Unknown column ? in ?"),
        ("Can't connect to MySQL server on 'db' (timed out)", "Can't connect to MySQL server on ? (timed out)"),
        ('invalid input syntax for type integer: "a"b\nc"\nLINE 1: …', "invalid input syntax for type integer: ?"),
        ('syntax error at or near "b"\nLINE 1: SELECT \'a\'b\'', "syntax error at or near ?"),
        ("unterminated quoted string at or near \"'abc\nd\"", "unterminated quoted string at or near ?"),
        ('value "99999999999" is out of range for type integer', "value ? is out of range for type integer"),
        ('near "b": syntax error', "near ?: syntax error"),
        ("invalid input for query argument $1: 4711 (expected str, got int)",
         "invalid input for query argument $1: ? (expected str, got int)"),
        ("invalid input for query argument $2 in element #1 of executemany() sequence: [1, 2] (value out of range)",
         "invalid input for query argument $2 in element #1 of executemany() sequence: ?"),
        ("x" * 1_000, "x" * 500),
        ("", ""),
    ],
)  # fmt: skip
def test_a_failures_message_repeats_no_values(text: str, message: str, seen: Captured) -> None:
    Query(target("postgresql"), ansi_statements.of("SELECT 1")).end(RuntimeError(text))
    assert [event.attributes["exception.message"] for event in statements(seen)[0].events or ()] == [message]


def test_a_failure_of_our_own_is_not_the_applications(
    engine: Engine, production: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture() as seen, engine.connect() as connection:

        def fail(*_args: Any) -> None:
            raise RuntimeError("ours")

        for broken in ("watchkeeper.databases.queries.database", "watchkeeper.databases.statements.read"):
            with monkeypatch.context() as patch:
                patch.setattr(broken, fail)
                before = seen.metric("watchkeeper_sdk_errors_total", where="query") or 0
                assert connection.execute(text(f"SELECT 1 AS {new_table()}")).scalar() == 1
                if broken.endswith("database"):
                    assert seen.metric("watchkeeper_sdk_errors_total", where="query") == before + 1
        assert connection.execute(text("SELECT 2")).scalar() == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("postgresql", "postgresql"), ("mysql", "mysql"), ("mssql", "microsoft.sql_server"), ("oracle", "oracle.db"),
        ("cockroachdb", "cockroachdb"), ("klingon", OTHER_SQL),
    ],
)  # fmt: skip
def test_systems_have_the_conventions_names(given: str, told: str) -> None:
    assert target(given).attributes == {"db.system.name": told}


def test_a_socket_has_no_port() -> None:
    found = target("postgresql", "/run/postgresql", 5432, "shop")
    assert found.attributes == {
        "db.system.name": "postgresql", "db.namespace": "shop", "server.address": "/run/postgresql"
    }  # fmt: skip
    assert found.pool_name == "/run/postgresql/shop"


# Options


def test_the_environment_says_what_is_slow_and_repeated() -> None:
    options = wk.Options.from_environment({"WATCHKEEPER_SLOW_QUERY": "250", "WATCHKEEPER_N_PLUS_ONE": "5"})
    assert options.databases == DatabaseOptions(slow_query_seconds=0.25, n_plus_one=5)
    assert wk.Options.from_environment({}).databases == DatabaseOptions(0.5, 10)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"WATCHKEEPER_SLOW_QUERY": "soon"}, "WATCHKEEPER_SLOW_QUERY is 'soon': it must be a number"),
        ({"WATCHKEEPER_SLOW_QUERY": "1e12"}, "WATCHKEEPER_SLOW_QUERY"),
        ({"WATCHKEEPER_N_PLUS_ONE": "1"}, "WATCHKEEPER_N_PLUS_ONE. is 1, which every statement reaches: use 2 or more"),
        ({"WATCHKEEPER_N_PLUS_ONE": "2.5"}, "WATCHKEEPER_N_PLUS_ONE is '2.5'"),
    ],
)
def test_options_that_cannot_be_used_are_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(wk.ConfigurationError, match=message):
        wk.Options.from_environment(environ)
