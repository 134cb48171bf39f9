"""Pools of connections, read when somebody looks."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import aiomysql
import asyncpg
import psycopg_pool
import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from support.databases import AIOMYSQL_URL, ASYNCPG_URL, HOST, MARIADB, POSTGRESQL, PSYCOPG_URL, PYMYSQL_URL
from support.sdk import eventually
from watchkeeper.databases.pools import MOST_NAMES, Pools, PoolState
from watchkeeper.testing import Captured

STATES = ("size", "active", "idle", "waiting")
POSTGRESQL_POOL, MARIADB_POOL = f"{HOST}:5432/test", f"{HOST}:3306/test"


@pytest.fixture(autouse=True)
def nobody_elses() -> None:
    """Pools of other tests are gone."""
    gc.collect()


def state(seen: Captured, pool: str) -> tuple[float | None, ...]:
    return tuple(seen.metric(f"db_connection_pool_{name}", pool=pool) for name in STATES)


async def until(seen: Captured, pool: str, wanted: tuple[int, ...]) -> None:
    for _ in range(5_000):
        if state(seen, pool) == wanted:
            return
        await asyncio.sleep(0.001)
    assert state(seen, pool) == wanted


@pytest.mark.parametrize(("url", "pool"), [(PSYCOPG_URL, POSTGRESQL_POOL), (PYMYSQL_URL, MARIADB_POOL)])
def test_an_engines_pool_is_told_as_it_is_now(url: str, pool: str, seen: Captured) -> None:
    engine = sqlalchemy.create_engine(url, pool_size=2, max_overflow=1)

    def wait(engine: sqlalchemy.Engine = engine) -> None:
        engine.connect().close()

    with engine.connect() as first:
        assert state(seen, pool) == (None,) * 4
        first.execute(text("SELECT 1"))
        assert state(seen, pool) == (3, 1, 0, 0)
        with engine.connect():
            assert state(seen, pool) == (3, 2, 0, 0)
        assert state(seen, pool) == (3, 1, 1, 0)
        with engine.connect(), engine.connect():
            waiting = threading.Thread(target=wait)
            waiting.start()
            eventually(lambda: state(seen, pool) == (3, 3, 0, 1))
        waiting.join()
    engine.dispose()
    assert state(seen, pool) == (3, 0, 0, 0)
    del engine, first, wait, waiting
    gc.collect()
    assert state(seen, pool) == (None,) * 4


def test_a_pool_of_psycopgs_is_told_as_it_is_now(seen: Captured) -> None:
    with psycopg_pool.ConnectionPool(POSTGRESQL, min_size=1, max_size=2) as pool:
        pool.wait(10)
        with pool.connection() as first:
            assert state(seen, POSTGRESQL_POOL) == (None,) * 4
            first.execute("SELECT 1")
            assert state(seen, POSTGRESQL_POOL) == (2, 1, 0, 0)
            with pool.connection():
                assert state(seen, POSTGRESQL_POOL) == (2, 2, 0, 0)
                waiting = threading.Thread(target=lambda: pool.putconn(pool.getconn()))
                waiting.start()
                eventually(lambda: state(seen, POSTGRESQL_POOL) == (2, 2, 0, 1))
            waiting.join()
        assert state(seen, POSTGRESQL_POOL) == (2, 0, 2, 0)
    assert state(seen, POSTGRESQL_POOL) == (None,) * 4


async def test_an_async_pool_of_psycopgs_likewise(seen: Captured) -> None:
    async with psycopg_pool.AsyncConnectionPool(POSTGRESQL, min_size=1, max_size=2, open=False) as pool:
        await pool.wait(10)
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")
            assert state(seen, POSTGRESQL_POOL) == (2, 1, 0, 0)
        assert state(seen, POSTGRESQL_POOL) == (2, 0, 1, 0)


@pytest.mark.parametrize(("url", "pool"), [(ASYNCPG_URL, POSTGRESQL_POOL), (AIOMYSQL_URL, MARIADB_POOL)])
async def test_an_async_engines_pool_likewise(url: str, pool: str, seen: Captured) -> None:
    engine = create_async_engine(url, pool_size=1, max_overflow=0)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        assert state(seen, pool) == (1, 1, 0, 0)

        async def wait() -> None:
            async with engine.connect():
                pass

        waiting = asyncio.create_task(wait())
        await until(seen, pool, (1, 1, 0, 1))
    await waiting
    assert state(seen, pool) == (1, 0, 1, 0)
    await engine.dispose()


async def test_asyncpgs_pool_likewise(seen: Captured) -> None:
    async with asyncpg.create_pool(POSTGRESQL, min_size=1, max_size=2) as pool:
        async with pool.acquire() as connection:
            await connection.execute("SELECT 1")
            assert state(seen, POSTGRESQL_POOL) == (2, 1, 0, 0)
            async with pool.acquire():
                waiting = asyncio.create_task(pool.fetchval("SELECT 7"))
                await until(seen, POSTGRESQL_POOL, (2, 2, 0, 1))
            assert await waiting == 7
        assert state(seen, POSTGRESQL_POOL) == (2, 0, 2, 0)
    assert state(seen, POSTGRESQL_POOL) == (None,) * 4


async def test_aiomysqls_pool_likewise(seen: Captured) -> None:
    pool: Any = await aiomysql.create_pool(**MARIADB, db="test", minsize=1, maxsize=2)
    async with pool.acquire(), pool.acquire():
        assert state(seen, MARIADB_POOL) == (2, 2, 0, 0)
        waiting = asyncio.create_task(pool._acquire())
        await until(seen, MARIADB_POOL, (2, 2, 0, 1))
    pool.release(await waiting)
    assert state(seen, MARIADB_POOL) == (2, 0, 2, 0)
    pool.close()
    await pool.wait_closed()
    assert state(seen, MARIADB_POOL) == (None,) * 4


def test_pools_of_one_database_are_added_up(seen: Captured) -> None:
    engines = [sqlalchemy.create_engine(PSYCOPG_URL, pool_size=size, max_overflow=0) for size in (2, 3)]
    engines.append(engines[0].execution_options(isolation_level="AUTOCOMMIT"))  # of the same pool
    for engine in engines:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    assert state(seen, POSTGRESQL_POOL) == (5, 0, 2, 0)
    for engine in engines:
        engine.dispose()


def test_pools_that_have_no_bounds_or_one_connection_are_not_told(seen: Captured) -> None:
    for pool in (sqlalchemy.NullPool, sqlalchemy.StaticPool):
        engine = sqlalchemy.create_engine(PSYCOPG_URL, poolclass=pool)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            assert state(seen, POSTGRESQL_POOL) == (None,) * 4
        engine.dispose()


class Pool:
    def __init__(self, size: int = 1) -> None:
        self.size = size


def read(pool: Pool) -> PoolState:
    return PoolState(pool, pool.size, 0, 0, 0)


def sizes(pools: Pools) -> dict[str, float]:
    return {s.labels["pool"]: s.value for f in pools.collect() if f.name.endswith("size") for s in f.samples}


def test_the_number_of_names_is_bounded() -> None:
    pools, kept = Pools(), [Pool() for _ in range(MOST_NAMES + 5)]
    for at, pool in enumerate(kept):
        pools.track(pool, f"host_{at}/db", read)
    found = sizes(pools)
    assert len(found) == MOST_NAMES + 1
    assert found["__other__"] == 5


def test_pools_are_not_kept_alive() -> None:
    pools, pool = Pools(), Pool()
    pools.track(pool, "host/db", read)
    assert sizes(pools) == {"host/db": 1}
    del pool
    gc.collect()
    assert sizes(pools) == {}


def test_a_pool_that_cannot_be_read_hides_no_other(production: None) -> None:
    pools, good, bad = Pools(), Pool(3), Pool()

    def fail(_pool: Pool) -> PoolState:
        raise RuntimeError

    pools.track(bad, "bad/db", fail)
    pools.track(good, "good/db", read)
    assert sizes(pools) == {"good/db": 3}


def test_pools_may_come_and_go_while_they_are_read() -> None:
    pools, stop = Pools(), threading.Event()

    def churn() -> None:
        while not stop.is_set():
            kept = [Pool() for _ in range(50)]
            for pool in kept:
                pools.track(pool, "host/db", read)

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            list(pools.collect())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
