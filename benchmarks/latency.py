"""How long from acknowledged to searchable, while the server takes a tenth of the ingest targets of all signals."""

from __future__ import annotations

import http.client
import secrets
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.parse
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ingest import TARGETS
from server import Server, running_server

PROBES = 20
TARGET_SECONDS = 1.0
LOAD_SECONDS = 60


def main() -> None:
    """Print one table."""
    with running_server() as server:
        generators = [_generator(server, signal, target // 10) for signal, target in TARGETS.items()]
        time.sleep(5)
        seconds = [_probe(server) for _ in range(PROBES)]
        for generator in generators:
            generator.kill()
            generator.wait()
    print(f"{'accepted to searchable, s':28}{'median':>8}{'worst':>8}{'target':>8}{'ratio':>7}")
    median = statistics.median(seconds)
    print(
        f"{'a trace, by its id':28}{median:8.2f}{max(seconds):8.2f}{TARGET_SECONDS:8.2f}{median / TARGET_SECONDS:7.2f}"
    )


def _generator(server: Server, signal: str, rate: int) -> subprocess.Popen[str]:
    script = str(Path(__file__).with_name("generate.py"))
    command = [sys.executable, script, server.otlp, signal, str(rate * LOAD_SECONDS), str(rate)]
    generator = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert generator.stdin
    generator.stdin.write("go\n")
    generator.stdin.flush()
    return generator


def _probe(server: Server) -> float:
    """Send one span, and ask for its trace until it is there."""
    trace_id, now = secrets.token_bytes(16), time.time_ns()
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=trace_id, span_id=secrets.token_bytes(8))
    span.name, span.start_time_unix_nano, span.end_time_unix_nano = "probe", now, now + 1000
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.otlp).netloc)
    connection.request("POST", "/v1/traces", request.SerializeToString(), {"content-type": "application/x-protobuf"})
    assert connection.getresponse().status == 200
    accepted = time.monotonic()
    while True:
        try:
            server.get(f"/api/wk/traces/{trace_id.hex()}")
        except urllib.error.HTTPError:
            time.sleep(0.02)
        else:
            return time.monotonic() - accepted


if __name__ == "__main__":
    main()
