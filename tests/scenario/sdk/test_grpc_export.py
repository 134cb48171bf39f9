"""OTLP over gRPC into our own server, over TLS, and across a fork."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

import watchkeeper as wk
from support.server import ServerProcess
from watchkeeper import LogOptions, Options, QueueOptions, SignalOptions

QUIET = LogOptions(stream="off")
FORKING = """
import os, sys, watchkeeper as wk
wk.configure()
def say(name):
    with wk.span(name) as span:
        print(f"{span.get_span_context().trace_id:032x}", flush=True)
say("before the fork")
assert wk.flush(10)
child = os.fork()
say("in the child" if child == 0 else "in the parent")
done = wk.flush(10)
if child == 0:
    os._exit(0 if done else 3)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) or (0 if done else 4))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data") as found:
        yield found


def test_spans_of_a_process_and_of_its_forked_child_reach_our_server_by_grpc(server: ServerProcess) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{server.otlp_grpc}",
        "OTEL_SERVICE_NAME": "forking",
        "WATCHKEEPER_LOG_STREAM": "off",
    }
    done = subprocess.run(
        [sys.executable, "-c", FORKING],
        env={**os.environ, **environment},
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    traces = [server.trace(trace_id) for trace_id in done.stdout.split()]
    names = sorted(span["name"] for trace in traces for span in trace["spans"])
    assert names == ["before the fork", "in the child", "in the parent"]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.requests: list[Any] = []

    def Export(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802  # the service's name
        self.requests.append(request)
        return ExportTraceServiceResponse()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "made.pem", folder / "key.pem"
    asked = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    asked += ["-addext", "subjectAltName=DNS:localhost", "-out", str(made), "-keyout", str(key)]
    subprocess.run(["openssl", *asked], check=True, capture_output=True)
    return made, key


@pytest.fixture
def secure(certificate: tuple[Path, Path]) -> Iterator[tuple[Collector, str]]:
    """A collector that speaks TLS, and shows that certificate."""
    made, key = (path.read_bytes() for path in certificate)
    found = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(found, server)
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, made)]))
    server.start()
    yield found, f"https://localhost:{port}"
    wk.shutdown(0.5)
    server.stop(None).wait()


def send_to(endpoint: str, certificate: str) -> bool:
    target = SignalOptions(endpoint, protocol="grpc", certificate=certificate, timeout_seconds=2)
    wk.configure(Options(logs=QUIET, export={"traces": target}, queue=QueueOptions(delay_seconds=0.05)))
    with wk.span("secure"):
        pass
    return wk.flush(3)


def test_a_server_whose_authority_is_named_is_trusted_by_grpc(
    secure: tuple[Collector, str], certificate: tuple[Path, Path]
) -> None:
    collector, endpoint = secure
    assert send_to(endpoint, str(certificate[0]))
    assert len(collector.requests) == 1


def test_a_server_that_nobody_vouches_for_gets_nothing(secure: tuple[Collector, str]) -> None:
    collector, endpoint = secure
    assert not send_to(endpoint, "")
    assert collector.requests == []
