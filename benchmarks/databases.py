"""CPU that watching adds to a statement: SQLAlchemy (over SQLite) and psycopg (over PostgreSQL), ours and others'.

What is measured: process CPU (`time.process_time`) a statement, within a span that is kept; spans are thrown away when
they end. Modes take turns in one process; the table shows medians over rounds, and what each adds to the bare library.

    python benchmarks/databases.py [postgresql://…]

OpenTelemetry's packages are left out where they are not installed. Theirs make spans only; ours count, too.
"""

from __future__ import annotations

import gc
import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import sqlalchemy

import watchkeeper as wk
from watchkeeper import testing
from watchkeeper.integrations import psycopg as our_psycopg
from watchkeeper.integrations import sqlalchemy as our_sqlalchemy
from watchkeeper.tracing.api import provider

STATEMENTS, ROUNDS, WARM_UP = 2_000, 15, 200
ROWS = "CREATE TEMPORARY TABLE bench_orders (id int, name text, status text)"
ASK = "SELECT id, name FROM bench_orders WHERE id = {} AND status IN ('paid', 'sent')"

Switch = Callable[[], object]
Connected = Callable[[], AbstractContextManager[Callable[[int], None]]]


def measure(run: Callable[[int], None]) -> float:
    """CPU microseconds a statement."""
    run(WARM_UP)
    gc.collect()
    before = time.process_time()
    run(STATEMENTS)
    return (time.process_time() - before) / STATEMENTS * 1e6


def compare(title: str, connected: Connected, modes: dict[str, tuple[Switch, Switch]]) -> None:
    """Prints the medians of all modes, in turn, each with a connection of its own."""
    found: dict[str, list[float]] = {name: [] for name in modes}
    for _ in range(ROUNDS):
        for name, (on, off) in modes.items():
            on()
            try:
                with connected() as run, wk.span("work"):
                    found[name].append(measure(run))
            finally:
                off()
    bare = statistics.median(found["bare"])
    for name, values in found.items():
        print(f"{title:12} {name:14} {statistics.median(values):7.1f} µs   +{statistics.median(values) - bare:.1f}")


def theirs(package: str, instrumentor: str, **details: Any) -> dict[str, tuple[Switch, Switch]]:
    """OpenTelemetry's mode, if it is installed."""
    try:
        found = getattr(importlib.import_module(f"opentelemetry.instrumentation.{package}"), instrumentor)()
    except ImportError:
        return {}

    def on() -> None:
        found.instrument(skip_dep_check=True, tracer_provider=provider, **details)

    return {"opentelemetry": (on, found.uninstrument)}


def main() -> None:
    """Measures."""
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "database"
    dsn = sys.argv[1] if len(sys.argv) > 1 else "postgresql://postgres@127.0.0.1:5432/test"
    engine = sqlalchemy.create_engine("sqlite://")
    statement = sqlalchemy.text(ASK.format(":id"))

    @contextmanager
    def by_sqlalchemy() -> Iterator[Callable[[int], None]]:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(ROWS))

            def run(times: int) -> None:
                for _ in range(times):
                    connection.execute(statement, {"id": 1}).close()

            yield run
            connection.execute(sqlalchemy.text("DROP TABLE bench_orders"))

    @contextmanager
    def by_psycopg() -> Iterator[Callable[[int], None]]:
        with psycopg.connect(dsn, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(ROWS)

            def run(times: int) -> None:
                for _ in range(times):
                    cursor.execute(ASK.format("%s"), (1,))

            yield run

    bare: tuple[Switch, Switch] = (lambda: None, lambda: None)
    with testing.capture(wk.Options(logs=wk.LogOptions(stream="off"), integrations=())):
        provider.sink = lambda _span: None
        ours = {"bare": bare, "watchkeeper": (our_sqlalchemy.install, our_sqlalchemy.uninstall)}
        compare("sqlalchemy", by_sqlalchemy, {**ours, **theirs("sqlalchemy", "SQLAlchemyInstrumentor", engine=engine)})
        ours = {"bare": bare, "watchkeeper": (our_psycopg.install, our_psycopg.uninstall)}
        compare("psycopg", by_psycopg, {**ours, **theirs("psycopg", "PsycopgInstrumentor")})


if __name__ == "__main__":
    main()
