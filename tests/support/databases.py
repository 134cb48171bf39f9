"""What the tests of databases share: the servers that run beside them, and tables that nobody else has."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import psycopg
from opentelemetry.trace import SpanKind

from watchkeeper.testing import Captured
from watchkeeper.tracing.span import Span

HOST = "127.0.0.1"
POSTGRESQL = f"postgresql://postgres@{HOST}:5432/test"
MARIADB: dict[str, Any] = {"host": HOST, "port": 3306, "user": "root"}  # and `database` or `db`, as the driver calls it
PSYCOPG_URL = f"postgresql+psycopg://postgres@{HOST}/test"
ASYNCPG_URL = f"postgresql+asyncpg://postgres@{HOST}/test"
PYMYSQL_URL = f"mysql+pymysql://root@{HOST}/test"
AIOMYSQL_URL = f"mysql+aiomysql://root@{HOST}/test"


def new_table() -> str:
    return f"wk_{uuid.uuid4().hex[:16]}"


def statements(seen: Captured, *tables: str) -> list[Span]:
    """The spans of statements, in order; of these tables, if any is named."""
    return [
        span
        for span in seen.spans
        if span.kind is SpanKind.CLIENT
        and "db.system.name" in span.attributes
        and (not tables or any(table in span.name for table in tables))
    ]


def names(seen: Captured, *tables: str) -> list[str]:
    return [span.name for span in statements(seen, *tables)]


def inserted(table: str, text: str) -> dict[str, Any]:
    """What the span of an INSERT into PostgreSQL says."""
    return {
        "db.system.name": "postgresql",
        "db.namespace": "test",
        "server.address": "127.0.0.1",
        "server.port": 5432,
        "db.operation.name": "INSERT",
        "db.collection.name": table,
        "db.query.summary": f"INSERT {table}",
        "db.query.text": text,
    }


def counted(seen: Captured, operation: str, table: str, status: str = "ok") -> float:
    return seen.metric("db_queries_total", operation=operation, table=table, status=status) or 0.0


async def until_running(part: str) -> None:
    """Waits until PostgreSQL executes a statement whose text has this part."""
    deadline = time.monotonic() + 5
    asked = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s AND pid <> pg_backend_pid()"
    with psycopg.connect(POSTGRESQL, autocommit=True) as connection:
        while connection.execute(asked, [f"%{part}%"]).fetchone() == (0,):
            assert time.monotonic() < deadline, "it does not run"
            await asyncio.sleep(0.005)
