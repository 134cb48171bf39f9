"""A server that is sent hundreds of bad requests in every format answers each, and goes on."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import grpc
import pytest
from corpus import SIGNALS, good, otlp_json
from mutate import mutate_bytes, mutate_fields, mutate_json

from support.otlp import span, spans_request
from support.server import JSON, PROTOBUF, ServerProcess
from watchkeeper_server.receive.otlp import SIGNALS as OTLP

BY_NAME = {signal.name: signal for signal in OTLP}
KINDS = {"spans": "traces", "logs": "logs", "metrics": "metrics", "metrics_delta": "metrics"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("fuzz") / "data") as running:
        yield running


@contextlib.contextmanager
def http_sender(server: ServerProcess, signal: str, content_type: str) -> Iterator[Callable[[bytes], str]]:
    """Sends on one connection; answers the status."""

    def send(body: bytes) -> str:
        connection.request("POST", f"/v1/{signal}", body, {"content-type": content_type})
        response = connection.getresponse()
        response.read()
        return str(response.status)

    with contextlib.closing(http.client.HTTPConnection(urlsplit(server.otlp_http).netloc, timeout=60)) as connection:
        yield send


def grpc_sender(channel: grpc.Channel, signal: str) -> Callable[[bytes], str]:
    """Sends over gRPC; answers the status code."""
    export = channel.unary_unary(f"/{BY_NAME[signal].service}/Export")

    def send(body: bytes) -> str:
        try:
            export(body, timeout=60)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"

    return send


def mutants(signal: str, chance: random.Random, rounds: int) -> Iterator[bytes]:
    """Protobuf, half of it with bytes changed and half with fields changed."""
    request = good(signal)
    body = request.SerializeToString()
    for i in range(rounds):
        if i % 2:
            yield mutate_bytes(body, chance)
        else:
            mutant = type(request).FromString(body)
            mutate_fields(mutant, chance)
            yield mutant.SerializeToString()


@pytest.fixture(params=[300, pytest.param(1000, marks=pytest.mark.long)])
def rounds(request: pytest.FixtureRequest) -> int:
    """How many requests of each sort."""
    found: int = request.param
    return found


@pytest.fixture(autouse=True)
def unharmed(server: ServerProcess) -> Iterator[None]:
    """Good spans sent before and after are stored; only what no library would write may be set aside."""
    traces = [_good_trace(server)]
    yield
    traces.append(_good_trace(server))
    server.wait_drained(600)
    assert [len(server.trace(trace_id)["spans"]) for trace_id in traces] == [1, 1]
    assert server.alive()
    assert "Traceback" not in server.log_tail(10_000_000)
    set_aside = list((server.data / "quarantine").glob("*.pb"))
    assert server.figure("watchkeeper_quarantined_payloads_total") == len(set_aside)
    well_formed = {}
    for path in set_aside:
        payload = path.read_bytes()
        message = BY_NAME[KINDS[path.name.split("-")[0]]].request.FromString(payload)
        message.DiscardUnknownFields()
        if message.SerializeToString() == payload:
            well_formed[path.name] = path.with_suffix(".error").read_text()
    assert well_formed == {}


def _good_trace(server: ServerProcess) -> str:
    trace_id = os.urandom(16).hex()
    body = spans_request([span(trace=trace_id, id="01" * 8, start=time.time_ns())])
    assert server.post("/v1/traces", body).status == 200
    return trace_id


@pytest.mark.parametrize("signal", SIGNALS)
def test_mutated_protobuf_over_http_is_answered(server: ServerProcess, signal: str, rounds: int) -> None:
    with http_sender(server, signal, PROTOBUF) as send:
        answers = Counter(send(body) for body in mutants(signal, random.Random(signal), rounds))
    assert set(answers) == {"200", "400"}


@pytest.mark.parametrize("signal", SIGNALS)
def test_mutated_json_is_answered(server: ServerProcess, signal: str, rounds: int) -> None:
    chance, text = random.Random(signal), json.dumps(otlp_json(good(signal)))
    bodies = [json.dumps(mutate_json(json.loads(text), chance)).encode() for _ in range(rounds)]
    bodies += [mutate_bytes(text.encode(), chance) for _ in range(rounds)]
    with http_sender(server, signal, JSON) as send:
        answers = Counter(map(send, bodies))
    assert set(answers) == {"200", "400"}


@pytest.mark.parametrize("signal", SIGNALS)
def test_mutated_protobuf_over_grpc_is_answered(server: ServerProcess, signal: str, rounds: int) -> None:
    with grpc.insecure_channel(server.otlp_grpc) as channel:
        send = grpc_sender(channel, signal)
        answers = Counter(send(body) for body in mutants(signal, random.Random(f"{signal} over gRPC"), rounds))
    assert set(answers) == {"OK", "INVALID_ARGUMENT"}


def test_mutated_http_is_answered_or_cut_off(server: ServerProcess, rounds: int) -> None:
    chance = random.Random("http")
    body = good("traces").SerializeToString()
    head = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\ncontent-length: {len(body)}\r\n\r\n"
    for _ in range(rounds):
        with server.connect() as connection:
            connection.settimeout(0.05)  # an announced body that never comes is waited for: not here
            connection.sendall(mutate_bytes(head.encode(), chance) + body)
            try:
                answer = connection.recv(1000)
            except (TimeoutError, ConnectionResetError):
                continue
            assert answer == b"" or answer.split()[1] in (b"200", b"400", b"404", b"405", b"413", b"415", b"100")
