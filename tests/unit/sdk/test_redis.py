"""redis-py against the real server, and against a cluster of one node that is started here."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis
import redis.asyncio
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.trace import SpanKind, StatusCode
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster

import watchkeeper as wk
from support.ports import unused_port
from support.sdk import eventually
from watchkeeper import testing
from watchkeeper.caches.commands import MOST_NAMES, OTHER, Names, command_text, outcomes, pipeline_text, waits
from watchkeeper.caches.options import CacheOptions
from watchkeeper.caches.part import caches
from watchkeeper.caches.servers import Servers
from watchkeeper.caches.state import Reading, State, state_in
from watchkeeper.integrations import redis as integration
from watchkeeper.integrations.part import requests
from watchkeeper.logging.options import LogOptions
from watchkeeper.metrics.declare import declarations
from watchkeeper.options import Options
from watchkeeper.testing import Captured

HOST, PORT, DB = "127.0.0.1", 6379, 11
NAME = f"{HOST}:{PORT}/{DB}"


@pytest.fixture
def key() -> Iterator[str]:
    """The beginning of every key of the test."""
    prefix = f"watchkeeper-test:{uuid.uuid4().hex}:"
    yield prefix
    with redis.Redis(HOST, PORT, DB) as cleaning:
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        for found in cleaning.scan_iter(f"{prefix}*"):
            cleaning.delete(found)
        detach(token)


@pytest.fixture
def client(seen: Captured) -> Iterator[redis.Redis]:
    with redis.Redis(HOST, PORT, DB) as found:
        yield found


class Counts:
    """What was counted since."""

    def __init__(self) -> None:
        self._before = self._all()

    def since(self) -> dict[tuple[str, str], float]:
        now = self._all()
        return {kind: now[kind] - self._before.get(kind, 0) for kind in now if now[kind] != self._before.get(kind, 0)}

    @staticmethod
    def _all() -> dict[tuple[str, str], float]:
        found = {}
        for family in declarations.registry.collect():
            for sample in family.samples:
                if sample.name == "cache_operations_total":
                    found[sample.labels["operation"], sample.labels["result"]] = sample.value
        return found


def hits_and_misses(name: str = NAME) -> tuple[float, float]:
    found = (Captured.metric(f"cache_{kind}_total", cache=name) or 0.0 for kind in ("hits", "misses"))
    return next(found), next(found)


def test_a_command_is_a_client_span_without_its_arguments(seen: Captured, client: redis.Redis, key: str) -> None:
    with wk.span("work") as work:
        client.set(f"{key}card", "4111111111111111", ex=60)
    span = seen.span("SET")
    assert (span.kind, span.parent_id) == (SpanKind.CLIENT, work.span_id)  # type: ignore[attr-defined]
    assert span.attributes == {
        "db.system.name": "redis",
        "db.namespace": str(DB),
        "db.operation.name": "SET",
        "db.query.text": "SET ? ? ? ?",
        "server.address": HOST,
        "server.port": PORT,
    }


def test_look_ups_are_hits_and_misses_of_their_cache(client: redis.Redis, key: str) -> None:
    counts, before = Counts(), hits_and_misses()
    client.mset({f"{key}a": 1, f"{key}b": 2})
    client.hset(f"{key}h", mapping={"x": 1})
    assert client.get(f"{key}a") == b"1"
    assert client.get(f"{key}none") is None
    assert client.mget(f"{key}a", f"{key}none", f"{key}b") == [b"1", None, b"2"]
    assert client.hget(f"{key}h", "x") == b"1"
    assert client.hmget(f"{key}h", "x", "y") == [b"1", None]
    assert client.exists(f"{key}a", f"{key}none") == 1
    assert client.hgetall(f"{key}none") == {}
    assert not client.sismember(f"{key}none", 1)
    client.getdel(f"{key}a")
    assert counts.since() == {
        ("MSET", "ok"): 1,
        ("HSET", "ok"): 1,
        ("GET", "hit"): 1,
        ("GET", "miss"): 1,
        ("MGET", "hit"): 2,
        ("MGET", "miss"): 1,
        ("HGET", "hit"): 1,
        ("HMGET", "hit"): 1,
        ("HMGET", "miss"): 1,
        ("EXISTS", "hit"): 1,
        ("EXISTS", "miss"): 1,
        ("HGETALL", "miss"): 1,
        ("SISMEMBER", "miss"): 1,
        ("GETDEL", "hit"): 1,
    }
    hits, misses = hits_and_misses()
    assert (hits - before[0], misses - before[1]) == (7, 6)


def test_a_pipeline_is_one_span_and_its_look_ups_are_counted(seen: Captured, client: redis.Redis, key: str) -> None:
    counts = Counts()
    with client.pipeline(transaction=False) as pipeline:
        pipeline.set(f"{key}a", 1).get(f"{key}a").get(f"{key}none")
        assert pipeline.execute() == [True, b"1", None]
        pipeline.get(f"{key}a").get(f"{key}a")
        pipeline.execute()
        assert pipeline.execute() == []
    mixed, same = seen.spans
    assert mixed.name == mixed.attributes["db.operation.name"] == "PIPELINE"
    assert mixed.attributes["db.operation.batch.size"] == 3
    assert mixed.attributes["db.query.text"] == "SET ? ?\nGET ?\nGET ?"
    assert same.name == "PIPELINE GET"
    assert counts.since() == {("SET", "ok"): 1, ("GET", "hit"): 3, ("GET", "miss"): 1}


def test_a_transaction_is_one_span_and_what_is_watched_before_it_is_seen(
    seen: Captured, client: redis.Redis, key: str
) -> None:
    with client.pipeline() as pipeline:
        pipeline.watch(f"{key}a")
        assert pipeline.get(f"{key}a") is None
        pipeline.multi()
        pipeline.set(f"{key}a", 1).incr(f"{key}a")
        assert pipeline.execute() == [True, 2]
    assert [span.name for span in seen.spans] == ["WATCH", "GET", "MULTI"]


def test_failures_within_a_pipeline_that_are_given_back_are_counted(client: redis.Redis, key: str) -> None:
    counts = Counts()
    with client.pipeline(transaction=False) as pipeline:
        pipeline.set(f"{key}a", "text").incr(f"{key}a")
        results = pipeline.execute(raise_on_error=False)
    assert isinstance(results[1], redis.ResponseError)
    assert counts.since() == {("SET", "ok"): 1, ("INCRBY", "error"): 1}


def test_a_refused_command_tells_its_code_and_none_of_its_arguments(
    seen: Captured, client: redis.Redis, key: str
) -> None:
    counts = Counts()
    client.set(f"{key}a", "text")
    with pytest.raises(redis.ResponseError):
        client.lpush(f"{key}a", "hunter2")
    with pytest.raises(redis.ResponseError, match="hunter2"):
        client.execute_command("NO-SUCH-COMMAND", "hunter2")
    refused, unknown = seen.spans[1:]
    assert refused.attributes["db.response.status_code"] == "WRONGTYPE"
    assert refused.attributes["error.type"] == "redis.exceptions.ResponseError"
    assert refused.status_code is StatusCode.ERROR
    assert unknown.name == "NO-SUCH-COMMAND"
    assert "hunter2" not in f"{unknown.attributes}{unknown.events}{unknown.status_message}"
    assert counts.since() == {("SET", "ok"): 1, ("LPUSH", "error"): 1, ("NO-SUCH-COMMAND", "error"): 1}


def test_a_server_that_is_down_is_an_error_that_goes_on_to_the_caller(seen: Captured) -> None:
    port = unused_port()
    counts = Counts()
    with redis.Redis(HOST, port, retry=None) as client, pytest.raises(redis.ConnectionError):
        client.get("x")
    span = seen.span("GET")
    assert span.attributes["error.type"] == "redis.exceptions.ConnectionError"
    assert [event.name for event in span.events or ()] == ["exception"]
    assert counts.since() == {("GET", "error"): 1}


async def test_asyncio_is_watched_likewise(seen: Captured, key: str) -> None:
    counts = Counts()
    async with redis.asyncio.Redis(host=HOST, port=PORT, db=DB) as client:
        assert inspect.iscoroutinefunction(client.execute_command)
        with wk.span("work") as work:
            await client.set(f"{key}a", 1)
            assert await client.get(f"{key}a") == b"1"
            async with client.pipeline(transaction=True) as pipeline:
                await pipeline.watch(f"{key}a")
                assert await pipeline.get(f"{key}a") == b"1"
                pipeline.multi()
                assert await pipeline.get(f"{key}a").get(f"{key}none").execute() == [b"1", None]
            assert await client.pipeline(transaction=False).get(f"{key}a").execute() == [b"1"]
    names = [span.name for span in seen.spans]
    assert names == ["SET", "GET", "WATCH", "GET", "MULTI GET", "PIPELINE GET", "work"]
    assert {span.parent_id for span in seen.spans[:-1]} == {work.span_id}  # type: ignore[attr-defined]
    assert counts.since() == {
        ("SET", "ok"): 1,
        ("GET", "hit"): 4,
        ("GET", "miss"): 1,
        ("WATCH", "ok"): 1,
    }


async def test_a_cancelled_command_is_neither_answered_nor_failed(seen: Captured, key: str) -> None:
    counts = Counts()
    async with redis.asyncio.Redis(host=HOST, port=PORT, db=DB) as client:
        with wk.span("work"):
            task = asyncio.create_task(client.blpop(f"{key}queue", timeout=30))  # type: ignore[arg-type]
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert seen.span("BLPOP").status_code is StatusCode.UNSET
    assert counts.since() == {("BLPOP", "cancelled"): 1}


def test_commands_that_wait_make_no_traces_of_their_own(seen: Captured, client: redis.Redis, key: str) -> None:
    counts = Counts()
    client.lpush(f"{key}queue", 1)
    assert client.blpop(f"{key}queue", timeout=1) == (f"{key}queue".encode(), b"1")
    client.xread({f"{key}stream": "0"}, block=1)
    client.xread({f"{key}stream": "0"})
    assert [span.name for span in seen.spans] == ["LPUSH", "XREAD"]
    with wk.span("work"):
        client.blpop(f"{key}queue", timeout=0.01)
    assert seen.span("BLPOP").parent_id == seen.span("work").span_id
    assert counts.since() == {("LPUSH", "ok"): 1, ("BLPOP", "ok"): 2, ("XREAD", "ok"): 2}


def test_a_brokers_traffic_makes_no_traces_and_counts_as_no_cache(seen: Captured, key: str) -> None:
    counts = Counts()
    with kombu.Connection(f"redis://{HOST}:{PORT}/{DB}", transport_options={"global_keyprefix": key}) as connection:
        queue = connection.SimpleQueue("orders")
        queue.put("seven")
        message = queue.get(timeout=5)
        assert message.payload == "seven"
        message.ack()
        assert seen.spans == []
        with wk.span("work"):
            queue.put("eight")
        assert "work" in {span.name for span in seen.spans}
        assert {span.parent_id for span in seen.spans if span.name != "work"} == {seen.span("work").span_id}
        queue.close()
    assert counts.since() == {}


def test_publish_subscribe_connections_are_left_alone(seen: Captured, client: redis.Redis, key: str) -> None:
    with closing(client.pubsub()) as subscriber:
        subscriber.subscribe(f"{key}news")
        eventually(lambda: subscriber.get_message(timeout=0.1))
        client.publish(f"{key}news", "x")
        eventually(lambda: subscriber.get_message(timeout=0.1))
    assert [span.name for span in seen.spans] == ["PUBLISH"]


def test_what_is_suppressed_or_given_back_is_not_watched(seen: Captured, client: redis.Redis, key: str) -> None:
    counts = Counts()
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    client.set(f"{key}a", 1)
    detach(token)
    wk.shutdown()
    client.set(f"{key}a", 1)
    assert seen.spans == []
    assert counts.since() == {}


def test_a_failure_of_ours_sends_the_command_once(
    client: redis.Redis, key: str, production: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> Any:
        raise RuntimeError("no servers today")

    monkeypatch.setattr(integration.servers, "of", fail)
    assert client.incr(f"{key}a") == 1
    assert client.pipeline().incr(f"{key}a").execute() == [2]


def test_a_call_that_is_kept_keeps_no_values(
    client: redis.Redis, key: str, seen: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(requests.settings, "on_call", kept.append)  # as breadcrumbs do
    client.set(f"{key}a", "stored")
    assert client.get(f"{key}a") is not None
    client.pipeline().set(f"{key}a", "stored again").get(f"{key}a").execute()
    assert [call.name for call in kept] == ["SET", "GET", "MULTI"]
    assert [(call._commands, call.result) for call in kept] == [((), None)] * 3


def test_a_socket_and_a_sentinels_service_are_addresses(tmp_path: Path) -> None:
    servers = Servers()
    found = servers.of(redis.Redis(unix_socket_path="/run/redis.sock", db=2))
    assert (found.name, found.attributes["server.address"]) == ("/run/redis.sock/2", "/run/redis.sock")
    assert "server.port" not in found.attributes
    sentinel = redis.sentinel.Sentinel([(HOST, 1)])
    assert servers.of(sentinel.master_for("orders")).name == "orders/0"
    assert servers.of(redis.Redis.from_url("redis://jo:hunter2@cache.example/3")).name == "cache.example:6379/3"


# A cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a cluster's only node."""
    port, bus = unused_port(), unused_port()
    folder = tmp_path_factory.mktemp("cluster")
    command = ["redis-server", "--port", str(port), "--bind", HOST, "--save", "", "--cluster-enabled", "yes"]
    process = subprocess.Popen([*command, "--cluster-port", str(bus), "--dir", str(folder)], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(HOST, port) as node:
            eventually(lambda: _answers(node), 10)
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
            eventually(lambda: b"cluster_state:ok" in node.execute_command("CLUSTER", "INFO"), 10)
        yield port
    finally:
        process.kill()
        process.wait()


def _answers(node: redis.Redis) -> bool:
    try:
        return bool(node.ping())
    except redis.ConnectionError:
        return False


def test_a_clusters_commands_and_pipelines_are_spans_once(seen: Captured, cluster: int) -> None:
    with RedisCluster(HOST, cluster) as client:
        seen.spans.clear()
        counts, before = Counts(), hits_and_misses(f"{HOST}:{cluster}")
        client.set("a", 1)
        assert client.get("a") == b"1"
        pipeline = client.pipeline()
        assert pipeline.get("a").get("none").execute() == [b"1", None]
        assert client.pipeline(transaction=True).get("a").execute() == [b"1"]
    assert [span.name for span in seen.spans] == ["SET", "GET", "PIPELINE GET", "MULTI GET"]
    assert seen.span("SET").attributes["server.port"] == cluster
    assert "db.namespace" not in seen.span("SET").attributes
    assert counts.since() == {("SET", "ok"): 1, ("GET", "hit"): 3, ("GET", "miss"): 1}
    hits, misses = hits_and_misses(f"{HOST}:{cluster}")
    assert (hits - before[0], misses - before[1]) == (3, 1)


async def test_a_cluster_of_asyncio_likewise(seen: Captured, cluster: int) -> None:
    async with AsyncRedisCluster(host=HOST, port=cluster) as client:
        await client.initialize()
        seen.spans.clear()
        counts = Counts()
        await client.set("b", 1)
        assert await client.get("b") == b"1"
        assert await client.pipeline().get("b").get("none").execute() == [b"1", None]
    assert [span.name for span in seen.spans] == ["SET", "GET", "PIPELINE GET"]
    assert counts.since() == {("SET", "ok"): 1, ("GET", "hit"): 2, ("GET", "miss"): 1}


# How a cache is


def test_state_is_read_only_where_it_is_asked_for(key: str) -> None:
    options = Options(logs=LogOptions(stream="off"), caches=CacheOptions(state_seconds=15))
    with testing.capture(options) as seen, redis.Redis(HOST, PORT, DB) as client:
        client.set(f"{key}a", 1)
        caches.after_fork()  # whatever was read before
        caches._reading._due = 0.0
        caches.every_round()
        eventually(lambda: (seen.metric("cache_size_entries", cache=NAME) or 0) >= 1)
        eventually(lambda: (seen.metric("cache_memory_usage_bytes", cache=NAME) or 0) > 100_000)
        assert [span.name for span in seen.spans] == ["SET"]
    assert not caches._seconds


def test_nothing_is_read_without_the_option(seen: Captured, client: redis.Redis, key: str) -> None:
    client.set(f"{key}a", 1)
    threads = threading.active_count()
    caches._reading._due = 0.0
    caches.every_round()
    assert threading.active_count() == threads
    assert caches._reading._due == 0.0


def test_readings_keep_their_distance_and_evictions_are_counted_from_the_first(client: redis.Redis, key: str) -> None:
    client.set(f"{key}a", 1)
    now = 1_000.0
    found = Servers()
    found.of(client)
    reading = Reading(found, lambda: now)
    asked = []
    answers = iter([5, 7, 3])

    def ask(server: Any) -> dict[str, Any]:
        asked.append(server.name)
        return {"evicted_keys": next(answers), "used_memory": 10, f"db{DB}": {"keys": 2}}

    reading._ask = ask  # type: ignore[method-assign]
    before = Captured.metric("cache_evictions_total", cache=NAME) or 0.0
    for moment in (1_000.0, 1_014.9, 1_015.0, 1_030.0):
        now = moment
        reading.round(15)
        assert reading._thread is not None
        reading._thread.join(5)
    assert asked == [NAME] * 3
    assert (Captured.metric("cache_evictions_total", cache=NAME) or 0.0) - before == 2 + 3


def test_brokers_are_not_asked() -> None:
    found, clients = Servers(), [redis.Redis(HOST, PORT, number) for number in (1, 2)]
    assert [found.of(client).name for client in clients] == [f"{HOST}:{PORT}/1", f"{HOST}:{PORT}/2"]
    found.of(clients[0]).carries_messages = True
    assert list(found.caches()) == [f"{HOST}:{PORT}/2"]


def test_what_a_sentinel_finds_is_not_asked() -> None:
    found = Servers()
    sentinel = redis.sentinel.Sentinel([(HOST, 1)])
    assert found.of(sentinel.master_for("orders")).name == "orders/0"
    assert found.caches() == {}


@pytest.mark.parametrize("library", [redis, redis.asyncio], ids=["sync", "asyncio"])
def test_a_server_that_is_spoken_to_by_tls_is_asked_by_tls(library: Any) -> None:
    heard = []
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]

        def listen() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(4_096))

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        client = library.from_url(f"rediss://jo:hunter2@{HOST}:{port}/0")
        with pytest.raises(redis.ConnectionError):
            Reading(Servers())._ask(Servers().of(client))
        listening.join(5)
    assert heard[0][:2] == b"\x16\x03"  # the handshake's first record
    assert b"hunter2" not in heard[0]


def test_a_cache_that_cannot_be_asked_is_nobodys_trouble(caplog: pytest.LogCaptureFixture) -> None:
    port = unused_port()
    found = Servers()
    client = redis.Redis(HOST, port)
    found.of(client)
    reading = Reading(found)
    reading.round(15)
    assert reading._thread is not None
    reading._thread.join(5)
    assert f"cannot ask the cache {HOST}:{port}/0" in caplog.text


def test_an_empty_database_has_no_entries() -> None:
    assert state_in({"used_memory": 7, "evicted_keys": 1}, "3") == State(0, 7, 1)


def test_options_of_caches_name_what_cannot_be() -> None:
    assert CacheOptions.from_environment({"WATCHKEEPER_CACHE_STATE": "30000"}).state_seconds == 30
    with pytest.raises(wk.ConfigurationError, match=r"WATCHKEEPER_CACHE_STATE.* is 1 s: .*15 s or more"):
        CacheOptions(state_seconds=1).validate()


# Commands


def test_names_are_of_a_bounded_number() -> None:
    names = Names()
    assert (names.of("get"), names.of(b"json.get"), names.of("CONFIG SET")) == ("GET", "JSON.GET", "CONFIG SET")
    assert names.of("a\nb") == names.of(7) == names.of(None) == OTHER
    assert len({names.of(f"COMMAND{n}") for n in range(5_000)}) <= MOST_NAMES + 1
    assert names.of("get") == "GET"


def test_no_argument_becomes_part_of_a_name(client: redis.Redis, key: str, seen: Captured) -> None:
    client.execute_command(f"SET {key}session-4711 hunter2")
    client.execute_command(f"GET {key}session-4711")
    client.execute_command("CONFIG GET", "maxmemory")
    assert [span.name for span in seen.spans] == ["SET", "GET", "CONFIG GET"]
    names = Names()
    assert names.of("set x " + "y" * 100_000) == names.of(b"SET\x20x") == "SET"
    assert max(map(len, names._known)) < 100


def test_texts_are_of_a_bounded_length() -> None:
    assert command_text("MSET", 4) == "MSET ? ? ? ?"
    assert len(command_text("MSET", 100_000)) < 100
    assert pipeline_text([("GET", "a")] * 1_000).endswith("GET ?\n…")
    assert len(pipeline_text([("MSET", *range(1_000))] * 1_000)) < 2_000


def test_waiting_is_told_by_the_command_or_its_option() -> None:
    assert waits("BLPOP", ("BLPOP", "queue", 0))
    assert waits("XREADGROUP", ("XREADGROUP", "GROUP", "g", "c", b"BLOCK", 0, "STREAMS", "s", ">"))
    assert not waits("XREAD", ("XREAD", "COUNT", 1, "STREAMS", "BLOCKED", 0))
    assert not waits("GET", ("GET", "BLOCK"))


def test_answers_of_an_unexpected_kind_are_just_answers() -> None:
    assert [outcome.result for outcome in outcomes("MGET", ("MGET", "a"), {"node": []})] == ["ok"]
    assert [outcome.result for outcome in outcomes("EXISTS", ("EXISTS", "a"), None)] == ["ok"]


def test_a_forked_child_finds_no_lock_taken(client: redis.Redis, key: str) -> None:
    servers = Servers()
    with servers._lock:
        child = os.fork()
        if child == 0:
            servers.renew_lock()
            os._exit(0 if servers.of(client).name == NAME else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
