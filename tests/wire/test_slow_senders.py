"""Senders that are slow, silent or many: each is cut off in time, and nobody else notices."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cramjam
import grpc
import pytest

from support.otlp import span, spans_request
from support.server import JSON, PROTOBUF, Answer, ServerProcess
from watchkeeper_server.receive.exposition.write_request import field

pytestmark = pytest.mark.usefixtures("unharmed")
HEADER_SECONDS, BODY_SECONDS, BYTES_PER_SECOND = 1.0, 1.5, 1000
HEAD = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\n".encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of little patience."""
    limits = {
        "header_seconds": HEADER_SECONDS,
        "body_seconds": BODY_SECONDS,
        "body_bytes_per_second": BYTES_PER_SECOND,
        "connections": 100,
    }
    with ServerProcess(tmp_path_factory.mktemp("slow") / "data", receive=limits) as running:
        yield running


def trickle(connection: socket.socket, data: bytes, pause_seconds: float, size: int = 1) -> tuple[float, bytes]:
    """Send so many bytes at a time until answered or cut off; answers after how long, and what came back."""
    began = time.monotonic()
    for i in range(0, len(data), size):
        with contextlib.suppress(OSError):
            connection.sendall(data[i : i + size])
        if select.select([connection], [], [], pause_seconds)[0]:
            break
    answer = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(4096):
            answer += chunk
    return time.monotonic() - began, answer


def test_headers_that_trickle_are_cut_off(server: ServerProcess) -> None:
    with server.connect() as connection:
        seconds, answer = trickle(connection, HEAD * 100, 0.1)
    assert HEADER_SECONDS <= seconds + 0.1 < HEADER_SECONDS + 1.5
    assert answer == b""


def test_a_connection_that_says_nothing_is_closed(server: ServerProcess) -> None:
    with server.connect() as connection:
        began = time.monotonic()
        assert connection.recv(100) == b""
        assert time.monotonic() - began < HEADER_SECONDS + 1.5


def test_the_second_request_of_a_connection_is_awaited_no_longer(server: ServerProcess) -> None:
    with server.connect() as connection:
        connection.sendall(HEAD + b"content-length: 0\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        time.sleep(HEADER_SECONDS + 0.5)  # idle between requests is no fault
        connection.sendall(HEAD + b"content-length: 0\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        seconds, answer = trickle(connection, HEAD * 100, 0.1)
    assert seconds < HEADER_SECONDS + 1.5
    assert answer == b""


def test_a_body_that_pauses_is_answered_408(server: ServerProcess) -> None:
    with server.connect() as connection:
        connection.sendall(HEAD + b"content-length: 1000\r\n\r\n" + bytes(10))
        seconds, answer = trickle(connection, b"", 0)
    assert BODY_SECONDS <= seconds + 0.1 < BODY_SECONDS + 1.5
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer
    assert b"too slowly: 10 bytes in 1.5 seconds; send it again" in answer


def test_a_body_that_trickles_is_answered_408(server: ServerProcess) -> None:
    with server.connect() as connection:
        connection.sendall(HEAD + b"content-length: 1000000\r\n\r\n")
        seconds, answer = trickle(connection, bytes(1000), 0.2)
    assert seconds < BODY_SECONDS + 1.5
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_slow_remote_write_is_told_to_come_back(server: ServerProcess) -> None:
    head = b"POST /api/v1/write HTTP/1.1\r\nhost: test\r\ncontent-type: application/x-protobuf\r\n"
    with server.connect(otlp=False) as connection:
        connection.sendall(head + b"content-length: 1000\r\n\r\n" + bytes(10))
        _, answer = trickle(connection, b"", 0)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in answer


def test_a_slow_but_steady_body_is_taken(server: ServerProcess) -> None:
    trace_id = os.urandom(16).hex()
    body = spans_request([span(trace=trace_id, id="01" * 8, start=time.time_ns(), name="n" * 9000)])
    with server.connect() as connection:
        connection.sendall(HEAD + f"content-length: {len(body)}\r\n\r\n".encode())
        began = time.monotonic()
        for i in range(0, len(body), 500):  # three times the least that is allowed
            connection.sendall(body[i : i + 500])
            time.sleep(0.15)
        assert time.monotonic() - began > BODY_SECONDS
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert len(server.trace(trace_id)["spans"]) == 1


def test_endless_headers_are_cut_off(server: ServerProcess) -> None:
    answers = []
    for filler in (b"x-header: " + b"v" * 1000 + b"\r\n", b"v" * 1000):
        with server.connect() as connection:
            seconds, answer = trickle(connection, HEAD + b"x: " + filler * 10_000, 0, size=32 * 1024)
            answers.append(answer)
            assert seconds < HEADER_SECONDS
    assert [answer.split(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 431 Request Header Fields Too Large"] * 2
    assert answers[0].endswith(b"The headers are larger than 64 KiB together.\n")


def test_a_sender_that_goes_away_in_the_middle_is_forgotten(server: ServerProcess) -> None:
    for part in (HEAD[:20], HEAD, HEAD + b"content-length: 1000\r\n\r\n", HEAD + b"content-length: 1000\r\n\r\nabc"):
        with server.connect() as connection:
            connection.sendall(part)


def test_while_many_are_slow_others_are_served(server: ServerProcess) -> None:
    with contextlib.ExitStack() as open_connections:
        for _ in range(80):
            connection = open_connections.enter_context(server.connect())
            connection.sendall(HEAD + b"content-length: 1000\r\n\r\nx")
        assert server.post("/v1/traces", b"").status == 200


def test_more_connections_than_allowed_are_answered_503(server: ServerProcess) -> None:
    with contextlib.ExitStack() as open_connections:
        for _ in range(110):
            connection = open_connections.enter_context(server.connect())
            connection.sendall(HEAD + b"content-length: 1000\r\n\r\nx")
        assert server.post("/v1/traces", b"").status == 503
        assert server.get("/-/ready").status == 200  # the main port counts its own
    time.sleep(0.5)


def meanwhile(server: ServerProcess, send: Callable[[], Answer]) -> tuple[Answer, int, float]:
    """A request's answer, how often others were answered meanwhile, and the longest that one of them waited."""
    answers: list[Answer] = []
    sender = threading.Thread(target=lambda: answers.append(send()))
    sender.start()
    longest, served = 0.0, 0
    while sender.is_alive():
        began = time.monotonic()
        assert server.get("/-/healthy").status == 200
        longest = max(longest, time.monotonic() - began)
        served += 1
    sender.join()
    return answers[0], served, longest


def test_the_server_answers_others_while_it_checks_a_large_request(server: ServerProcess) -> None:
    resource = '{"scopeSpans":[{"spans":[{"traceId":"' + "ab" * 16 + '","spanId":"00"}]}]}'
    document = ('{"resourceSpans":[' + ",".join([resource] * 60_000) + "]}").encode()
    answer, served, longest = meanwhile(server, lambda: server.post("/v1/traces", document, JSON))
    assert answer.status == 400
    assert served >= 10
    assert longest < 1.0  # it was the whole time that the check takes, several seconds


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/api/v1/write", PROTOBUF, b"\x0a\x00" * 500_000),
        ("/api/v1/write", f"{PROTOBUF};proto=io.prometheus.write.v2.Request", b"\x22\0" + b"\x2a\0" * 150_000),
        ("/v1/traces", PROTOBUF, field(1, field(2, b"\x12\x00" * 300_000))),
    ],
)
def test_the_server_answers_others_while_it_checks_many_empty_items(
    server: ServerProcess, path: str, content_type: str, body: bytes
) -> None:
    sent = bytes(cramjam.snappy.compress_raw(body))
    headers = {"content-type": content_type, "content-encoding": "snappy"}
    answer, served, longest = meanwhile(server, lambda: server.request("POST", path, sent, headers))
    assert answer.status == 400
    assert served >= 5
    assert longest < 0.7  # it was the whole time that the check takes


def test_senders_of_more_than_all_may_hold_are_told_to_come_back_and_the_rest_is_served(tmp_path: Path) -> None:
    limits = {"in_flight_bytes": 10_000_000, "body_bytes": 4_000_000}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ServerProcess(tmp_path / "data", receive=limits))
        for _ in range(4):  # each holds 2.4 MB of a body that goes on
            connection = stack.enter_context(server.connect())
            connection.sendall(HEAD + b"content-length: 2500000\r\n\r\n" + bytes(2_400_000))
        deadline = time.monotonic() + 10
        while (answer := server.post("/v1/traces", bytes(1_000_000))).status != 503:
            assert time.monotonic() < deadline
        assert int(answer.headers["retry-after"]) > 0
        assert "bytes of other requests are being received" in answer.message()
        assert server.post("/v1/traces", b"").status == 200
        export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
        with grpc.insecure_channel(server.otlp_grpc) as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(export)(bytes(1_000_000), timeout=10)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert server.figure("watchkeeper_refused_requests_total", "traces", "in_flight") >= 2
