"""Caches, brokers and other services, really; and each of them down, silent, slow and refusing."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import redis
import redis.asyncio

import watchkeeper as wk
from support.health import found, no_checks_left, saying, silent_server
from support.ports import unused_port
from support.sdk import eventually
from watchkeeper.health.breaker import CircuitBreaker
from watchkeeper.health.checks.cache import Cache
from watchkeeper.health.checks.http import Http
from watchkeeper.health.monitor import monitor
from watchkeeper.health.results import CheckReport

AMQP = "amqp://guest:guest@127.0.0.1"


async def found_in_a_loop(name: str, register: Any) -> CheckReport:
    with no_checks_left(), wk.testing.capture():
        monitor.server_started()
        register()
        report = await asyncio.to_thread(lambda: wk.health(fresh=True))
        return report.checks[name]


def seconds_in(report: CheckReport, message: str) -> Any:
    """What the message says, to the millisecond that it says it to."""
    said = re.fullmatch(message, report.message)
    assert said is not None, report.message
    return pytest.approx(float(said[1]), abs=0.00051)


# Caches


def test_a_cache_that_answers_is_healthy_and_told_of() -> None:
    for client in (redis.Redis(), "redis://127.0.0.1:6379/0"):
        began = time.monotonic()
        report = found("cache", lambda client=client: wk.check_cache(client))
        took_seconds = time.monotonic() - began
        assert (report.status, report.message, report.kind, report.critical) == ("healthy", "", "datastore", False)
        assert report.details["memory_bytes"] > 0
        assert 0 < report.details["ping_seconds"] < took_seconds


async def test_an_async_client_is_asked_on_its_own_loop() -> None:
    async with redis.asyncio.Redis() as client:
        await client.ping()  # its connection belongs to this loop
        report = await found_in_a_loop("cache", lambda: wk.check_cache(client))
        assert (report.status, report.message) == ("healthy", "")
        assert await client.ping()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[int]:
    """The port of a Redis that wants a password."""
    port = unused_port()
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--requirepass", "right", "--save", ""],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    client = redis.Redis(port=port, password="right")

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    try:
        eventually(answers, 10)
        yield port
    finally:
        client.close()
        server.terminate()
        server.wait(10)


def test_a_cache_that_refuses_the_password_is_unhealthy(guarded: int) -> None:
    report = found("cache", lambda: wk.check_cache(f"redis://:hunter22@127.0.0.1:{guarded}"))
    assert report.status == "unhealthy"
    assert "invalid username-password pair" in report.message
    assert "hunter22" not in report.message
    assert found("cache", lambda: wk.check_cache(f"redis://:right@127.0.0.1:{guarded}")).status == "healthy"


def test_hits_misses_evictions_and_memory_are_those_since_the_last_look(guarded: int) -> None:
    client = redis.Redis(port=guarded, password="right")
    check = Cache(lambda: client, slow_seconds=5, hit_rate=0.5)
    check()
    client.set("there", "1")
    for key in ("there", "gone", "gone", "gone"):
        client.get(key)
    found = check()
    assert (found.status, found.message) == ("degraded", "the hit rate is 25%, the limit is 50%")
    assert found.details["hit_rate"] == 0.25
    assert check().status == "healthy"  # nobody has looked anything up since
    for number in range(3_000):
        client.set(f"key-{number}", "x" * 1_000)
    client.config_set("maxmemory", int(client.info()["used_memory"] * 1.01))
    assert check().message.endswith("used, and nothing is evicted")
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert check().status == "healthy"  # a cache that evicts is meant to be full
    for number in range(1_000):
        client.set(f"more-{number}", "x" * 1_000)
    assert check().details["evictions"] > 0
    client.close()


def test_a_user_who_may_not_ask_for_more_than_an_answer_finds_the_cache_healthy(guarded: int) -> None:
    with redis.Redis(port=guarded, password="right") as client:
        client.acl_setuser("probe", enabled=True, passwords=["+pw"], commands=["+ping"])
    with redis.Redis(port=guarded, username="probe", password="pw") as probe:
        assert Cache(lambda: probe, slow_seconds=5)().status == "healthy"

    async def ask() -> str:
        async with redis.asyncio.Redis(port=guarded, username="probe", password="pw") as probe:
            return str((await Cache(lambda: probe, slow_seconds=5)()).status)

    assert asyncio.run(ask()) == "healthy"


def test_a_cache_that_is_down_or_silent_is_unhealthy() -> None:
    port = unused_port()
    report = found("cache", lambda: wk.check_cache(f"redis://127.0.0.1:{port}"))
    assert "Connection refused" in report.message
    assert report.duration_seconds < 1
    with silent_server() as silent:
        report = found("cache", lambda: wk.check_cache(redis.Redis(port=silent, socket_timeout=1), timeout=0.2))
    assert (report.status, report.message) == ("unhealthy", "timed out after 0.2 s")


def test_a_slow_cache_is_degraded() -> None:
    report = found("cache", lambda: wk.check_cache(redis.Redis(), slow_seconds=0.0))
    assert report.status == "degraded"
    assert seconds_in(report, r"PING took (\d\.\d{3}) s, the limit is 0 s") == report.details["ping_seconds"]


@pytest.mark.parametrize(
    ("client", "message"),
    [
        ("memcached://x", "check_cache got a URL that begins with 'memcached': use redis://"),
        (7, "check_cache got a int: give it a client of redis or valkey, or a URL"),
    ],
)
def test_what_is_no_cache_is_refused(client: Any, message: str) -> None:
    with pytest.raises(wk.ConfigurationError, match=message):
        wk.check_cache(client)


# Brokers


@pytest.mark.parametrize(
    ("url", "details"),
    [
        (AMQP, {"answer_seconds"}),
        ("amqp://127.0.0.1/%2F", {"answer_seconds"}),
        ("nats://127.0.0.1", {"answer_seconds", "version"}),
        ("tcp://127.0.0.1:1883", {"answer_seconds"}),
    ],
)
def test_a_broker_that_would_serve_is_healthy(url: str, details: set[str]) -> None:
    report = found("broker", lambda: wk.check_broker(url, slow_seconds=4))
    assert (report.status, report.message, set(report.details)) == ("healthy", "", details)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("amqp://guest:hunter22@127.0.0.1", "403 ACCESS_REFUSED"),
        (f"{AMQP}/a-virtual-host-that-nobody-made", "530 NOT_ALLOWED - vhost"),
        ("amqp://127.0.0.1:4222", "this is not AMQP 0-9-1: b'INFO {\"'"),
    ],
)
def test_a_broker_that_refuses_says_why(url: str, message: str) -> None:
    report = found("broker", lambda: wk.check_broker(url))
    assert report.status == "unhealthy"
    assert report.message.startswith(message)
    assert "hunter22" not in report.message


@pytest.mark.parametrize(
    ("answer", "scheme", "message"),
    [
        (b"", "amqp", "the connection was closed: this is not AMQP 0-9-1"),
        (b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x1e\xce", "amqp", "the method (10, 30) came instead of (10, 10)"),
        (b"\x01\x00\x00\x00\x00\xff\xff", "amqp", "the connection was closed: this is not AMQP 0-9-1"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "amqp", "this is not AMQP 0-9-1: b'HTTP/1.'"),
    ],
)
def test_what_is_no_broker_is_told_apart(answer: bytes, scheme: str, message: str) -> None:
    with saying(answer) as port:
        report = found("broker", lambda: wk.check_broker(f"{scheme}://127.0.0.1:{port}"))
    assert (report.status, report.message) == ("unhealthy", message)


@pytest.mark.parametrize("scheme", ["amqp", "nats"])
def test_a_broker_that_is_down_or_silent_is_unhealthy(scheme: str) -> None:
    port = unused_port()
    report = found("broker", lambda: wk.check_broker(f"{scheme}://127.0.0.1:{port}"))
    assert report.message == "ConnectionRefusedError: [Errno 111] Connection refused"
    with silent_server() as silent:
        report = found("broker", lambda: wk.check_broker(f"{scheme}://127.0.0.1:{silent}", timeout=0.2))
    assert report.status == "unhealthy"
    assert "timed out" in report.message


def test_a_slow_broker_is_degraded() -> None:
    report = found("broker", lambda: wk.check_broker(AMQP, slow_seconds=0.0))
    assert report.status == "degraded"
    assert seconds_in(report, r"the broker took (\d\.\d{3}) s, the limit is 0 s") == report.details["answer_seconds"]


async def test_an_open_connection_of_aio_pika_is_asked_for_a_channel() -> None:
    connection = await aio_pika.connect_robust(AMQP)
    report = await found_in_a_loop("broker", lambda: wk.check_broker(connection, slow_seconds=4))
    assert (report.status, report.message) == ("healthy", "")
    await connection.close()
    report = await found_in_a_loop("broker", lambda: wk.check_broker(connection))
    assert (report.status, report.message) == ("unhealthy", "the connection is closed")


@pytest.mark.parametrize("target", ["kafka://x", "amqp://", "tcp://127.0.0.1", 7])
def test_what_is_no_broker_is_refused(target: Any) -> None:
    with pytest.raises(wk.ConfigurationError, match="check_broker got a"):
        wk.check_broker(target)


# Other services


def answer(status: str, body: bytes = b"ok") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/health"


def test_a_service_that_answers_is_healthy() -> None:
    with saying(answer("204 No Content", b"")) as port:
        report = found("billing", lambda: wk.check_http(url(port), "billing", critical=True))
    assert (report.status, report.message, report.critical) == ("healthy", "", True)
    assert (report.details["status"], report.details["attempts"]) == (204, 1)


@pytest.mark.parametrize("status", ["302 Found", "404 Not Found"])
def test_a_status_that_is_not_wanted_is_unhealthy_and_not_asked_for_again(status: str) -> None:
    with saying(answer(status)) as port:
        report = found("billing", lambda: wk.check_http(url(port), "billing"))
        assert (report.status, report.message) == ("unhealthy", f"answered {status[:3]}")
        assert report.details["attempts"] == 1
        wanted = found("billing", lambda: wk.check_http(url(port), "billing", statuses={int(status[:3])}))
        assert wanted.status == "healthy"


def test_a_redirect_is_not_followed() -> None:
    with saying(b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n", answer("200 OK")) as port:
        assert found("billing", lambda: wk.check_http(url(port), "billing", retries=0)).message == "answered 302"


def test_what_may_pass_by_itself_is_tried_again_with_growing_pauses() -> None:
    pauses: list[float] = []
    with saying(answer("503 Service Unavailable"), b"", answer("200 OK")) as port:
        check = Http(url(port), sleep=pauses.append)
        found = check()
    assert (found.status, found.details["attempts"]) == ("healthy", 3)
    assert 0.05 <= pauses[0] < 0.15 < pauses[1] + 0.05 < 0.35


def test_nothing_is_tried_again_once_the_time_is_up() -> None:
    with saying(answer("500 Internal Server Error")) as port:
        found = Http(url(port), retries=100, timeout_seconds=0.4)()
    assert found.message == "answered 500"
    assert found.details["attempts"] < 5


def test_a_service_that_fails_again_and_again_is_left_alone_for_a_while() -> None:
    now = [0.0]
    circuit = CircuitBreaker(2, 30.0, lambda: now[0])
    check = Http(url(unused_port()), retries=0, breaker=circuit)
    assert [check().message for _ in range(2)] == ["ConnectionRefusedError: [Errno 111] Connection refused"] * 2
    assert check().message == "not asked for 30 s more, after it has failed again and again"
    now[0] = 31.0
    assert check().message.startswith("ConnectionRefusedError")
    assert check().message.startswith("not asked")


def test_a_service_that_is_down_silent_or_slow_is_told_apart() -> None:
    down = found("billing", lambda: wk.check_http(url(unused_port()), "billing"))
    assert (down.status, down.message) == ("unhealthy", "ConnectionRefusedError: [Errno 111] Connection refused")
    assert down.details["attempts"] == 3
    with silent_server() as port:
        began = time.monotonic()
        silent = found("billing", lambda: wk.check_http(url(port), "billing", timeout=0.2))
        assert time.monotonic() - began < 2
    assert silent.status == "unhealthy"
    assert "timed out" in silent.message
    with saying(answer("200 OK")) as port:
        slow = found("billing", lambda: wk.check_http(url(port), "billing", slow_seconds=0.0))
    assert (slow.status, slow.message[:14]) == ("degraded", "answered after")


def test_the_password_of_a_url_is_told_to_nobody() -> None:
    target = f"http://shop:hunter22@127.0.0.1:{unused_port()}/"
    assert "hunter22" not in repr(found("billing", lambda: wk.check_http(target, "billing")))


def test_a_header_is_sent_and_the_body_is_not_waited_for() -> None:
    with saying(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\nbeginning") as port:
        report = found("billing", lambda: wk.check_http(url(port), "billing", headers={"authorization": "Bearer x"}))
    assert report.status == "healthy"


@pytest.mark.parametrize("target", ["billing:8000", "ftp://billing", "http://", "http//shop:hunter22@billing"])
def test_what_is_no_url_is_refused(target: str) -> None:
    with pytest.raises(wk.ConfigurationError, match="it must be an http:// or https:// URL") as refused:
        wk.check_http(target, "billing")
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize("rest", ["shop:hunter22/x@db", "shop:x[hunter22@db", "[::1", "shop:x@db:hunter22", "db:99999"])
@pytest.mark.parametrize("begin", ["http", "amqp", "redis", "mysql"])
def test_a_url_that_cannot_be_read_is_refused_without_what_is_secret_in_it(begin: str, rest: str) -> None:
    check: Any = {
        "http": lambda url: wk.check_http(url, "billing"),
        "amqp": wk.check_broker,
        "redis": wk.check_cache,
        "mysql": wk.check_database,
    }[begin]
    with pytest.raises(wk.ConfigurationError, match="got a URL that cannot be read") as refused:
        check(f"{begin}://{rest}")
    assert "hunter22" not in str(refused.value)
    assert refused.value.__cause__ is None
