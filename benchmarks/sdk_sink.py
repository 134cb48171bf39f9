"""Where the stacks of `sdk.py` send to: OTLP, Datadog's agent and Elastic's APM server as far as counting goes.

A process of its own, so that its CPU is nobody's. It answers everything with success and decodes only when asked.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Sink:
    """The process, from outside."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def counts(self) -> dict[str, int]:
        """Spans and log records that arrived since the last call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        counts: dict[str, int] = json.loads(self._process.stdout.readline())
        return counts

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


class Handler(BaseHTTPRequestHandler):
    """Keeps bodies."""

    protocol_version = "HTTP/1.1"
    bodies: list[tuple[str, bytes]] = []  # noqa: RUF012  # of the whole process

    def do_POST(self) -> None:
        """Takes one."""
        body = self.rfile.read(int(self.headers["content-length"])) if "content-length" in self.headers else b""
        if self.headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        encoding = self.headers.get("content-encoding")
        if encoding == "gzip":
            body = gzip.decompress(body)
        elif encoding == "deflate":
            body = zlib.decompress(body)
        traces = self.headers.get("x-datadog-trace-count")
        self.bodies.append((self.path, traces.encode() if traces is not None else body))
        self._answer(b"{}" if traces is not None else b"")

    do_PUT = do_POST  # noqa: N815  # as http.server has it

    def do_GET(self) -> None:
        """An agent that offers nothing special."""
        self._answer(b'{"version": "7.60.0", "endpoints": ["/v0.4/traces"]}')

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Quiet."""


def count(bodies: list[tuple[str, bytes]]) -> dict[str, int]:
    """Spans and log records in these."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415

    spans = records = 0
    for path, body in bodies:
        if path == "/v1/traces":
            traces = ExportTraceServiceRequest.FromString(body)
            spans += sum(len(scope.spans) for r in traces.resource_spans for scope in r.scope_spans)
        elif path == "/v1/logs":
            logs = ExportLogsServiceRequest.FromString(body)
            # a package's own remarks about itself are no lines of the application
            records += sum(
                scope.scope.name == "shop.orders" and len(scope.log_records)
                for r in logs.resource_logs
                for scope in r.scope_logs
            )
        elif path.startswith("/v0."):
            spans += int(body)
        elif path.startswith("/intake"):
            spans += sum(line.startswith(b'{"transaction"') for line in body.splitlines())
    return {"spans": spans, "records": records}


def main() -> None:
    """Serves until stdin ends; each line of it asks for the counts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    for _line in sys.stdin:
        bodies, Handler.bodies[:] = list(Handler.bodies), []
        print(json.dumps(count(bodies)), flush=True)


if __name__ == "__main__":
    main()
