"""Serves the built page and the shop's telemetry in the JSON API's shapes.

Stands in for the server where a test is about the page alone. Its answers are typed with the contract's own types.
Run it to look at the page: `PYTHONPATH=src:tests/page python tests/page/fake_server.py 7071`.
"""

from __future__ import annotations

import json
import math
import mimetypes
import queue
import random
import re
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from fake_prometheus import METRICS, FakePrometheus, RefusedQueryError, label_sets
from fake_shop import NS, SEVERITY_NUMBERS, Shop, log_record, make_shop, resource, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchkeeper_server.model.answers import (
        Labels,
        LogCounts,
        LogRecord,
        Logs,
        Metrics,
        Operation,
        Operations,
        Problem,
        ServerStatus,
        Service,
        Services,
        ServiceShare,
        Span,
        Trace,
        Traces,
        TraceSummary,
    )

STATIC = Path(__file__).parents[2] / "src" / "watchkeeper_server" / "page" / "static"
ENTRY_KINDS = {"server", "consumer"}
TREND_POINTS = 30

Query = dict[str, list[str]]


class RefusedError(Exception):
    """A request that is answered with a `Problem`."""

    def __init__(self, status: int, error: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem: Problem = {"error": error, "message": message, "field": field}


def one(query: Query, name: str) -> str:
    return query.get(name, [""])[0]


def to_ns(text: str) -> int:
    """RFC 3339 to nanoseconds since the epoch: what the page sends."""
    return int(datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000


def duration_ns(text: str, field: str) -> int:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if not match:
        raise RefusedError(400, "bad_parameter", f"{text!r} is no duration: write 250ms, 1.5s or 2m.", field)
    return int(float(match[1]) * {"us": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9}[match[2]])


def quantile(values: list[int], share: float) -> int:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Answers:
    """The API's answers, from the shop's telemetry."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.started = time.time_ns()

    def _range(self, query: Query) -> tuple[str, str]:
        now = time.time_ns()
        start = to_ns(one(query, "start")) if one(query, "start") else now - 3600 * NS
        end = to_ns(one(query, "end")) if one(query, "end") else now
        return rfc3339(start), rfc3339(end)

    def _spans(self, query: Query, service: str = "") -> list[Span]:
        start, end = self._range(query)
        return [
            span
            for spans in self.shop.traces.values()
            for span in spans
            if start <= span["start"] < end and (not service or span["service"] == service)
        ]

    def services(self, query: Query) -> Services:
        start, end = self._range(query)
        names = {span["service"] for span in self._spans(query)}
        services = [self._service(name, query) for name in sorted(names)]
        services.sort(key=lambda service: -service["requests"])
        return {"start": start, "end": end, "services": services}

    def _service(self, name: str, query: Query) -> Service:
        start, end = (to_ns(text[:23] + "+00:00") for text in self._range(query))
        spans = self._spans(query, name)
        entries = [span for span in spans if span["kind"] in ENTRY_KINDS or span["parent_span_id"] is None]
        failed = [span for span in entries if span["status"]["code"] == "error"]
        logs = [record for record in self._logs(query) if record["service"] == name]
        durations = [span["duration_ns"] for span in entries]
        step = (end - start) / TREND_POINTS
        slots: list[list[Span]] = [[] for _ in range(TREND_POINTS)]
        for span in entries:
            at = to_ns(span["start"][:23] + "+00:00")
            slots[min(TREND_POINTS - 1, max(0, int((at - start) / step)))].append(span)
        return {
            "name": name,
            "requests": len(entries),
            "errors": len(failed),
            "rate_per_second": len(entries) / ((end - start) / NS),
            "error_ratio": len(failed) / len(entries) if entries else 0.0,
            "p50_ns": quantile(durations, 0.5) if durations else None,
            "p95_ns": quantile(durations, 0.95) if durations else None,
            "p99_ns": quantile(durations, 0.99) if durations else None,
            "spans": len(spans),
            "log_records": len(logs),
            "log_errors": sum(record["severity_number"] >= SEVERITY_NUMBERS["error"] for record in logs),
            "last_seen": max((span["start"] for span in spans), default=None),
            "trend": {
                "start": rfc3339(start),
                "step_seconds": step / NS,
                "requests": [len(slot) for slot in slots],
                "errors": [sum(span["status"]["code"] == "error" for span in slot) for slot in slots],
                "p95_ns": [quantile([span["duration_ns"] for span in slot], 0.95) if slot else None for slot in slots],
            },
        }

    def operations(self, query: Query, service: str) -> Operations:
        start, end = (to_ns(text[:23] + "+00:00") for text in self._range(query))
        grouped: dict[tuple[str, str], list[Span]] = defaultdict(list)
        for span in self._spans(query, service):
            if span["kind"] in ENTRY_KINDS or span["parent_span_id"] is None:
                grouped[span["name"], span["kind"]].append(span)
        operations: list[Operation] = []
        for (name, kind), spans in grouped.items():
            durations = [span["duration_ns"] for span in spans]
            errors = sum(span["status"]["code"] == "error" for span in spans)
            operations.append(
                {
                    "name": name,
                    "kind": kind,
                    "requests": len(spans),
                    "errors": errors,
                    "rate_per_second": len(spans) / ((end - start) / NS),
                    "error_ratio": errors / len(spans),
                    "p50_ns": quantile(durations, 0.5),
                    "p95_ns": quantile(durations, 0.95),
                    "p99_ns": quantile(durations, 0.99),
                }
            )
        operations.sort(key=lambda operation: -operation["requests"] * operation["p50_ns"])
        return {"service": service, "operations": operations}

    def traces(self, query: Query) -> Traces:
        start, end = self._range(query)
        low = duration_ns(one(query, "min_duration"), "min_duration") if one(query, "min_duration") else 0
        high = duration_ns(one(query, "max_duration"), "max_duration") if one(query, "max_duration") else math.inf
        conditions = [text.split("=", 1) for text in query.get("attribute", [])]

        def matches(span: Span) -> bool:
            return (
                one(query, "service") in {"", span["service"]}
                and one(query, "operation") in {"", span["name"]}
                and one(query, "status") in {"", span["status"]["code"]}
                and low <= span["duration_ns"] <= high
                and all(str(span["attributes"].get(key, "\0")) == value for key, value in conditions)
            )

        found = [
            summary(spans)
            for spans in self.shop.traces.values()
            if start <= spans[0]["start"] < end and any(matches(span) for span in spans)
        ]
        found.sort(key=lambda trace: trace["start"], reverse=True)
        first, limit = int(one(query, "cursor") or 0), int(one(query, "limit") or 20)
        following = first + limit
        return {"traces": found[first:following], "next": str(following) if following < len(found) else None}

    def trace(self, _: Query, trace_id: str) -> Trace:
        spans = self.shop.traces.get(trace_id)
        if not spans:
            raise RefusedError(404, "not_found", f"There is no trace {trace_id}.")
        names = {span["service"] for span in spans}
        return {
            "trace_id": trace_id,
            "start": spans[0]["start"],
            "duration_ns": max(span["offset_ns"] + span["duration_ns"] for span in spans),
            "services": shares(spans),
            "spans": sorted(spans, key=lambda span: span["offset_ns"]),
            "resources": {name: resource(name) for name in names},
            "logs": [record for record in self.shop.logs if record["trace_id"] == trace_id],
            "truncated": False,
            "logs_truncated": False,
        }

    def _logs(self, query: Query) -> list[LogRecord]:
        start, end = self._range(query)
        return [record for record in self.shop.logs if start <= record["time"] < end and log_matches(record, query)]

    def logs(self, query: Query) -> Logs:
        found = self._logs(query)
        first, limit = int(one(query, "cursor") or 0), int(one(query, "limit") or 100)
        following = first + limit
        return {"logs": found[first:following], "next": str(following) if following < len(found) else None}

    def log_counts(self, query: Query) -> LogCounts:
        start, end = self._range(query)
        first, last = (to_ns(text[:23] + "+00:00") for text in (start, end))
        buckets = int(one(query, "buckets") or 60)
        step = (last - first) / buckets
        counts: dict[str, list[int]] = {}
        found = self._logs(query)
        for record in found:
            at = to_ns(record["time"][:23] + "+00:00")
            row = counts.setdefault(record["severity"], [0] * buckets)
            row[min(buckets - 1, max(0, int((at - first) / step)))] += 1
        return {"start": start, "end": end, "step_seconds": step / NS, "counts": counts, "total": len(found)}

    def metrics(self, _: Query) -> Metrics:
        return {"metrics": sorted(METRICS.values(), key=lambda metric: metric["name"]) if self.shop.traces else []}

    def labels(self, _: Query, metric: str) -> Labels:
        values: dict[str, set[str]] = defaultdict(set)
        for labels in label_sets(metric):
            for name, value in labels.items():
                values[name].add(value)
        return {"metric": metric, "labels": {name: sorted(found) for name, found in sorted(values.items())}}

    def status(self, _: Query) -> ServerStatus:
        return {
            "version": "0.1.0",
            "started": rfc3339(self.started),
            "ready": True,
            "signals": {},
            "quarantined": 0,
            "private_bytes": 0,
            "resident_bytes": 0,
        }


def shares(spans: list[Span]) -> list[ServiceShare]:
    found: dict[str, ServiceShare] = {}
    for span in spans:
        share = found.setdefault(span["service"], {"name": span["service"], "spans": 0, "errors": 0})
        share["spans"] += 1
        share["errors"] += span["status"]["code"] == "error"
    return sorted(found.values(), key=lambda share: -share["spans"])


def summary(spans: list[Span]) -> TraceSummary:
    root = spans[0]
    return {
        "trace_id": root["trace_id"],
        "start": root["start"],
        "duration_ns": max(span["offset_ns"] + span["duration_ns"] for span in spans),
        "service": root["service"],
        "operation": root["name"],
        "root_missing": root["parent_span_id"] is not None,
        "spans": len(spans),
        "errors": sum(span["status"]["code"] == "error" for span in spans),
        "services": shares(spans),
    }


def log_matches(record: LogRecord, query: Query) -> bool:
    text = f"{record['body']} {json.dumps(record['attributes'])}".lower()
    return (
        one(query, "service") in {"", record["service"]}
        and one(query, "trace_id") in {"", record["trace_id"]}
        and one(query, "span_id") in {"", record["span_id"]}
        and record["severity_number"] >= SEVERITY_NUMBERS.get(one(query, "level"), 0)
        and all(word in text for word in one(query, "words").lower().split())
    )


class FakeServer:
    """The server on a port of its own. `with` starts and stops it; `tail` sends a record to whoever is listening."""

    def __init__(self, shop: Shop, port: int = 0) -> None:
        self.answers = Answers(shop)
        self.prometheus = FakePrometheus(shop)
        self.tails: list[tuple[Query, queue.Queue[LogRecord | None]]] = []
        self.routes: list[tuple[str, Callable[..., Any]]] = [
            (r"/services", self.answers.services),
            (r"/services/([^/]+)/operations", self.answers.operations),
            (r"/traces", self.answers.traces),
            (r"/traces/([^/]+)", self.answers.trace),
            (r"/logs", self.answers.logs),
            (r"/logs/counts", self.answers.log_counts),
            (r"/metrics", self.answers.metrics),
            (r"/metrics/([^/]+)/labels", self.answers.labels),
            (r"/status", self.answers.status),
        ]
        self._http = HttpServer(self, port)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end_tails()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, path: str, query: Query) -> object:
        for pattern, answer in self.routes:
            if match := re.fullmatch(pattern, path):
                return answer(query, *map(unquote, match.groups()))
        raise RefusedError(404, "not_found", f"There is nothing at {path}.")

    def tail(self, severity: str, body: str, service: str = "shop") -> None:
        record = log_record(time.time_ns(), service, severity, body, {})
        for query, waiting in list(self.tails):
            if log_matches(record, query):
                waiting.put(record)

    def end_tails(self) -> None:
        """Hangs up on whoever is listening. A browser that left is not noticed until something is sent to it."""
        for _, waiting in self.tails:
            waiting.put(None)
        self.tails = []

    def wait_for_tail(self, seconds: float = 5) -> None:
        """Returns once somebody is listening."""
        deadline = time.monotonic() + seconds
        while not self.tails:
            if time.monotonic() > deadline:
                raise TimeoutError("nobody opened the tail")
            time.sleep(0.01)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests for the fake server whose HTTP server this is."""

    protocol_version = "HTTP/1.1"

    @property
    def fake(self) -> FakeServer:
        assert isinstance(self.server, HttpServer)
        return self.server.fake

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Says nothing: the tests' output is theirs."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        if address.path == "/api/wk/logs/tail":
            self._stream(query)
        elif address.path.startswith("/api/wk"):
            self._answer(address.path.removeprefix("/api/wk"), query)
        elif address.path.startswith("/api/v1"):
            self._query(address.path.removeprefix("/api/v1"), query)
        else:
            self._file(address.path)

    def _answer(self, path: str, query: Query) -> None:
        try:
            self._send(200, json.dumps(self.fake.answer(path, query)).encode())
        except RefusedError as refused:
            self._send(refused.status, json.dumps(refused.problem).encode())

    def _query(self, path: str, query: Query) -> None:
        try:
            self._send(200, json.dumps({"status": "success"} | self.fake.prometheus.answer(path, query)).encode())
        except RefusedQueryError as refused:
            self._send(400, json.dumps(refused.body).encode())

    def _file(self, path: str) -> None:
        file = STATIC / path.lstrip("/")
        if not file.is_file():
            file = STATIC / "index.html"
        self._send(200, file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream")

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, query: Query) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b": welcome\n\n")
        self.wfile.flush()
        listening = (query, queue.Queue["LogRecord | None"]())
        self.fake.tails.append(listening)
        with suppress(OSError):  # the listener left
            while (record := listening[1].get()) is not None:
                self.wfile.write(f"data: {json.dumps(record)}\n\n".encode())
                self.wfile.flush()
        with suppress(ValueError):  # hung up on already
            self.fake.tails.remove(listening)

    def handle(self) -> None:
        with suppress(ConnectionError):  # the browser left without waiting for its answer
            super().handle()


class HttpServer(ThreadingHTTPServer):
    """Python's HTTP server, which tells its handlers whom they answer for."""

    daemon_threads = True

    def __init__(self, fake: FakeServer, port: int) -> None:
        self.fake = fake
        super().__init__(("127.0.0.1", port), Handler)


def main() -> None:
    """Serve until interrupted, with a log record a second for the live tail."""
    with FakeServer(make_shop(time.time_ns()), int(sys.argv[1]) if len(sys.argv) > 1 else 7071) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        while True:
            server.tail(random.choice(["info", "debug", "warn", "error"]), "a record of the live tail")
            time.sleep(1)


if __name__ == "__main__":
    main()
