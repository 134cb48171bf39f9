"""Connections to a database, however an application makes them, and questions in SQL to any of them."""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote

from watchkeeper.environment import ConfigurationError
from watchkeeper.health.checks.asking import settled
from watchkeeper.health.checks.urls import url_in

Row = Mapping[str, Any]
_DIALECTS = {  # of a connection, by the package that its type is from
    "psycopg": "postgresql",
    "psycopg2": "postgresql",
    "asyncpg": "postgresql",
    "pymysql": "mysql",
    "aiomysql": "mysql",
    "asyncmy": "mysql",
    "MySQLdb": "mysql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_SCHEMES = {"postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
_DRIVERS = {"postgresql": ("psycopg", "psycopg2", "asyncpg"), "mysql": ("pymysql", "MySQLdb")}


class Pool(NamedTuple):
    """A pool's connections: how many there may be, and how many are in use."""

    size: int
    active: int


class Session(ABC):
    """An open connection that can be asked."""

    def __init__(self, connection: Any, dialect: str) -> None:
        self.connection = connection
        self.dialect = dialect  # as SQLAlchemy calls it

    @abstractmethod
    async def ask(self, sql: str) -> Row | None:
        """The first row."""

    async def undo(self) -> None:
        """Ends a transaction that a failed question has spoilt."""
        rollback = getattr(self.connection, "rollback", None)
        if rollback is not None:
            await settled(rollback())


class SqlalchemySession(Session):
    """A Connection or an AsyncConnection."""

    async def ask(self, sql: str) -> Row | None:
        """The first row."""
        result = await settled(self.connection.exec_driver_sql(sql))
        row: Row | None = result.mappings().first()
        return row


class AsyncpgSession(Session):
    """A connection of asyncpg."""

    async def ask(self, sql: str) -> Row | None:
        """The first row."""
        row = await self.connection.fetchrow(sql)
        return None if row is None else dict(row)


class DbapiSession(Session):
    """A connection with a cursor: PEP 249's, or one like it whose calls are awaited."""

    async def ask(self, sql: str) -> Row | None:
        """The first row."""
        cursor = await settled(self.connection.cursor())
        try:
            await settled(cursor.execute(sql))
            row = await settled(cursor.fetchone())
            if row is None or isinstance(row, Mapping):
                return row
            return dict(zip((column[0] for column in cursor.description), row, strict=True))
        finally:
            await settled(cursor.close())


class Target:
    """What the application gave: an engine, a pool, a function that connects, or a URL."""

    def __init__(self, given: Any, timeout_seconds: float) -> None:
        self.secret = ""  # the URL's password
        if isinstance(given, str):
            self.secret = unquote(url_in(given, "check_database", port=False).password or "")
            given = _connector(given, timeout_seconds)
        self._given = given
        self.is_engine = hasattr(given, "dialect") and hasattr(given, "connect")
        if not (self.is_engine or hasattr(given, "acquire") or hasattr(given, "connection") or callable(given)):
            raise ConfigurationError(
                f"check_database got a {type(given).__name__}: give it an SQLAlchemy engine, a pool of psycopg, asyncpg"
                " or aiomysql, a function that opens a connection, or a URL (postgresql://…, mysql://…)"
            )

    def open(self) -> Any:
        """Begins to connect: a context manager, a connection, or an awaitable of one."""
        given = self._given
        if self.is_engine:
            return given.connect()
        if hasattr(given, "acquire"):
            return given.acquire()
        return given.connection() if hasattr(given, "connection") else given()

    def pool(self) -> Pool | None:
        """How busy the pool is, as far as it says."""
        given = self._given
        if self.is_engine:
            pool = given.pool
            if not hasattr(pool, "checkedout") or not hasattr(pool, "_max_overflow"):
                return None
            overflow = max(pool._max_overflow, 0)  # noqa: SLF001  # published nowhere; -1 is no limit
            return Pool(pool.size() + overflow if pool._max_overflow >= 0 else 0, pool.checkedout())  # noqa: SLF001
        if hasattr(given, "get_max_size"):  # asyncpg
            return Pool(given.get_max_size(), given.get_size() - given.get_idle_size())
        if hasattr(given, "get_stats"):  # psycopg
            stats = given.get_stats()
            return Pool(stats.get("pool_max", 0), stats.get("pool_size", 0) - stats.get("pool_available", 0))
        if hasattr(given, "freesize"):  # aiomysql
            return Pool(given.maxsize, given.size - given.freesize)
        return None

    @asynccontextmanager
    async def session(self, opened: Any) -> AsyncIterator[Session]:
        """A session on what `open` gave, closed or given back at the end."""
        if hasattr(opened, "__aenter__"):
            async with opened as connection:
                yield _session_on(connection)
        elif hasattr(opened, "__enter__") and not callable(self._given):
            with opened as connection:
                yield _session_on(connection)
        else:
            connection = await settled(opened)
            try:
                yield _session_on(connection)
            finally:
                await settled(getattr(connection, "ensure_closed", connection.close)())


def _session_on(connection: Any) -> Session:
    if hasattr(connection, "exec_driver_sql"):
        return SqlalchemySession(connection, connection.dialect.name)
    package = type(connection).__module__.partition(".")[0]
    dialect = getattr(connection, "vendor", None) or _DIALECTS.get(package, "")  # vendor: Django's
    if hasattr(connection, "fetchrow"):
        return AsyncpgSession(connection, dialect)
    return DbapiSession(connection, dialect)


def is_async(opened: Any) -> bool:
    """Whether what `open` gave has to be awaited."""
    return hasattr(opened, "__aenter__") or inspect.isawaitable(opened)


def _connector(url: str, timeout_seconds: float) -> Callable[[], Any]:
    """A function that connects to a URL, through the first driver that the application has."""
    parts = url_in(url, "check_database", port=False)
    dialect = _SCHEMES.get(parts.scheme.partition("+")[0])
    if dialect is None:
        raise ConfigurationError(
            f"check_database got a URL that begins with {parts.scheme!r}: use postgresql:// or mysql://, or give"
            " it an engine or a function that opens a connection, such as lambda: sqlite3.connect(path)"
        )
    if dialect == "postgresql":
        plain = f"postgresql://{url.partition('://')[2]}"
        return lambda: _postgresql(_driver(dialect), plain, timeout_seconds)
    parts = url_in(url, "check_database")
    named = {
        "host": parts.hostname or "localhost",
        "port": parts.port or 3306,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": parts.path.lstrip("/"),
        **dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), max(1, round(timeout_seconds))),
    }
    return lambda: _driver(dialect).connect(**named)


def _postgresql(driver: Any, url: str, timeout_seconds: float) -> Any:
    if driver.__name__ == "asyncpg":
        return driver.connect(url, timeout=timeout_seconds)
    return driver.connect(url, connect_timeout=max(1, round(timeout_seconds)))


def _driver(dialect: str) -> Any:
    for name in _DRIVERS[dialect]:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ImportError(f"no driver for {dialect} is installed: install {' or '.join(_DRIVERS[dialect])}")
