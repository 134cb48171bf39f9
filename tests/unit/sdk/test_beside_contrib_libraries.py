"""OpenTelemetry's own instrumentation of libraries at work beside ours, against the real servers.

Theirs makes each span, whoever came first; ours counts, hands the correlation id on, and makes the spans again when
theirs is switched off. Instrumentation is a process' own, so each order of theirs and ours is a process.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from support.databases import POSTGRESQL
from support.http_server import answering

PROGRAM = """
import asyncio, importlib, json, logging, sys, uuid
from opentelemetry.trace import SpanKind
from prometheus_client import REGISTRY
import watchkeeper as wk
from watchkeeper import testing

order, url, postgresql = sys.argv[1:]
name = f"wk-beside-{uuid.uuid4().hex[:8]}"
log = wk.get_logger("shop")

def of_redis():
    import redis
    with redis.Redis() as client:
        client.get(name)

def of_redis_asyncio():
    import redis.asyncio
    async def ask():
        async with redis.asyncio.Redis() as client:
            await client.get(name)
    asyncio.run(ask())

def of_psycopg():
    import psycopg
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("SELECT 1 FROM pg_class")

def of_psycopg_async():
    import psycopg
    async def ask():
        async with await psycopg.AsyncConnection.connect(postgresql, autocommit=True) as connection:
            await connection.execute("SELECT 1 FROM pg_class")
    asyncio.run(ask())

def of_asyncpg():
    import asyncpg
    async def ask():
        connection = await asyncpg.connect(postgresql)
        await connection.fetch("SELECT 1 FROM pg_class")
        await connection.close()
    asyncio.run(ask())

def of_sqlalchemy():
    import sqlalchemy
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1 FROM sqlite_master"))
    engine.dispose()

def of_requests():
    import requests
    with requests.Session() as session:
        assert session.get(url).status_code == 200

def of_httpx():
    import httpx
    with httpx.Client() as client:
        assert client.get(url).status_code == 200

def of_httpx_async():
    import httpx
    async def ask():
        async with httpx.AsyncClient() as client:
            assert (await client.get(url)).status_code == 200
    asyncio.run(ask())

def of_pika():
    import pika
    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1")) as connection:
        channel = connection.channel()
        channel.queue_declare(name, exclusive=True)
        with wk.bound_context(correlation_id="work-1"):
            channel.basic_publish("", name, b"1")
        def on_message(*_):
            log.info("handled")
            channel.stop_consuming()
        channel.basic_consume(name, on_message, auto_ack=True)
        channel.start_consuming()

def of_aio_pika():
    import aio_pika
    async def work():
        async with await aio_pika.connect("amqp://guest:guest@127.0.0.1/") as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(name, exclusive=True)
            handled = asyncio.Event()
            async def on_message(message):
                async with message.process():
                    log.info("handled")
                handled.set()
            await queue.consume(on_message)
            with wk.bound_context(correlation_id="work-1"):
                await channel.default_exchange.publish(aio_pika.Message(b"1"), name)
            await asyncio.wait_for(handled.wait(), 10)
            await asyncio.sleep(0.05)
    asyncio.run(work())

def of_celery():
    import celery
    from celery.contrib.testing.worker import start_worker
    broker = "amqp://guest:guest@127.0.0.1:5672//"
    app = celery.Celery("shop", broker=broker, backend="cache+memory://", set_as_current=False)
    app.conf.update(task_default_queue=name, worker_enable_remote_control=False)
    app.conf.broker_heartbeat = 1  # as often does a worker look whether it is to stop
    @app.task(name="pack", shared=False)
    def pack():
        log.info("handled")
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30, loglevel="ERROR"):
        with wk.bound_context(correlation_id="work-1"):
            pack.delay().get(timeout=20)
    with app.connection() as connection:
        connection.default_channel.queue_delete(name)

PACKAGES = {
    "redis": ("redis", "RedisInstrumentor", of_redis),
    "redis, asyncio": ("redis", "RedisInstrumentor", of_redis_asyncio),
    "psycopg": ("psycopg", "PsycopgInstrumentor", of_psycopg),
    "psycopg, asyncio": ("psycopg", "PsycopgInstrumentor", of_psycopg_async),
    "asyncpg": ("asyncpg", "AsyncPGInstrumentor", of_asyncpg),
    "sqlalchemy": ("sqlalchemy", "SQLAlchemyInstrumentor", of_sqlalchemy),
    "requests": ("requests", "RequestsInstrumentor", of_requests),
    "httpx": ("httpx", "HTTPXClientInstrumentor", of_httpx),
    "httpx, asyncio": ("httpx", "HTTPXClientInstrumentor", of_httpx_async),
    "pika": ("pika", "PikaInstrumentor", of_pika),
    "aio-pika": ("aio_pika", "AioPikaInstrumentor", of_aio_pika),
    "celery": ("celery", "CeleryInstrumentor", of_celery),
}
WORK = {SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER}

def counted():
    names = {"db_queries_total", "cache_operations_total", "external_api_calls_total", "queue_messages_total"}
    return sum(
        sample.value for family in REGISTRY.collect() for sample in family.samples if sample.name in names
    )

def used(use):
    spans, records, count = len(seen.spans), len(seen.records), counted()
    use()
    made = [span for span in seen.spans[spans:] if span.kind in WORK]
    return {
        "spans": len(made),
        "by": sorted({span.scope.name.partition(".")[0] for span in made}),
        "counted": counted() - count,
        "correlation_ids": [r.correlation_id for r in seen.records[records:] if r.message == "handled"],
    }

theirs = {
    library: getattr(importlib.import_module(f"opentelemetry.instrumentation.{package}"), instrumentor)()
    for library, (package, instrumentor, _) in PACKAGES.items()
}
if order == "theirs first":
    for each in theirs.values():
        each.instrument(skip_dep_check=True)
results = {}
with testing.capture(wk.Options(integrations=()) if order == "theirs alone" else None) as seen:
    for library, (_, _, use) in PACKAGES.items():
        found = results[library] = {}
        if order == "ours first":
            found["alone"] = used(use)
        if order != "theirs first":
            theirs[library].instrument(skip_dep_check=True)
        found["beside"] = used(use)
        if order != "theirs first":
            theirs[library].uninstrument()
        if order == "ours first":
            found["alone again"] = used(use)
print(json.dumps(results))
"""
CALLS = (
    "redis",
    "redis, asyncio",
    "psycopg",
    "psycopg, asyncio",
    "asyncpg",
    "sqlalchemy",
    "requests",
    "httpx",
    "httpx, asyncio",
)
QUEUES = ("pika", "aio-pika", "celery")


@functools.cache
def results_with(order: str) -> Any:
    with answering() as server:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, order, server.url, POSTGRESQL],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("library", CALLS + QUEUES)
def test_a_call_has_only_their_spans_and_is_counted_as_without_them(library: str) -> None:
    found = results_with("ours first")[library]
    theirs = results_with("theirs alone")[library]["beside"]
    alone, beside = found["alone"], found["beside"]
    assert (alone["by"], beside["by"]) == (["watchkeeper"], ["opentelemetry"])
    assert alone["spans"] == (2 if library in QUEUES else 1)
    assert beside["spans"] == theirs["spans"]  # pika's makes three of what are two
    assert beside["counted"] == alone["counted"] > theirs["counted"]
    assert found["alone again"] == alone


@pytest.mark.parametrize("library", CALLS + QUEUES)
def test_whether_theirs_was_there_before_ours_makes_no_difference(library: str) -> None:
    beside = results_with("theirs first")[library]["beside"]
    later = results_with("ours first")[library]["beside"]
    assert {**beside, "correlation_ids": 0} == {**later, "correlation_ids": 0}


@pytest.mark.parametrize(
    ("library", "order"), [(each, "ours first") for each in QUEUES[:2]] + [(each, "theirs first") for each in QUEUES]
)
def test_the_correlation_id_is_handed_on_beside_their_spans(library: str, order: str) -> None:
    # Celery's, switched on after ours, begins each task with a context of nothing but the message's.
    assert results_with(order)[library]["beside"]["correlation_ids"] == ["work-1"]


def test_every_library_is_asked_for() -> None:
    assert set(results_with("theirs alone")) == {*CALLS, *QUEUES}
