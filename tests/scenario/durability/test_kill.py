"""`kill -9` under load, again and again: every acknowledged item is there exactly once after the restart."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import threading
import time
import urllib.parse
from contextlib import closing
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.otlp import key_values
from support.remote_write import request_v1, snappy
from support.server import ServerProcess

ITEMS = 20
SENDERS = 3


def spans(service: str, chance: random.Random) -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(key_values({"service.name": service}))
    scope = resource.scope_spans.add()
    for _ in range(ITEMS):
        now = time.time_ns()
        scope.spans.add(
            trace_id=chance.randbytes(16),
            span_id=chance.randbytes(8),
            name="work",
            start_time_unix_nano=now,
            end_time_unix_nano=now + 1000,
        )
    return request.SerializeToString()


def logs(service: str, chance: random.Random) -> bytes:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.extend(key_values({"service.name": service}))
    scope = resource.scope_logs.add()
    for _ in range(ITEMS):
        record = scope.log_records.add(time_unix_nano=time.time_ns(), severity_number=9)
        record.body.string_value = f"line {chance.random()}"
    return request.SerializeToString()


def metrics(service: str, chance: random.Random) -> bytes:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.extend(key_values({"service.name": service}))
    metric = resource.scope_metrics.add().metrics.add(name="figure")
    for i in range(ITEMS):
        point = metric.gauge.data_points.add(time_unix_nano=time.time_ns(), as_double=chance.random())
        point.attributes.extend(key_values({"number": i}))
    return request.SerializeToString()


def samples(service: str, chance: random.Random) -> bytes:
    now = time.time_ns() // 1_000_000
    return snappy(
        request_v1(
            *(
                ({"__name__": "written", "job": service, "n": str(i % 10)}, [(now + i, chance.random())])
                for i in range(ITEMS)
            )
        )
    )


REQUESTS = {"traces": spans, "logs": logs, "metrics": metrics, "samples": samples}


class Sender:
    """Sends batches of one signal, each under a service name of its own, and remembers which were acknowledged."""

    def __init__(self, signal: str, seed: int) -> None:
        self.signal = signal
        self.acknowledged: list[str] = []
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, server: ServerProcess) -> None:
        self._stop.clear()
        place = server.url if self.signal == "samples" else server.otlp_http
        self._thread = threading.Thread(target=self._run, args=(urllib.parse.urlsplit(place).netloc,))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self, place: str) -> None:
        with closing(http.client.HTTPConnection(place, timeout=5)) as connection:
            while not self._stop.is_set():
                batch = f"{self.signal}-{self._random.getrandbits(64):016x}"
                body = REQUESTS[self.signal](batch, self._random)
                try:
                    path = "/api/v1/write" if self.signal == "samples" else f"/v1/{self.signal}"
                    connection.request("POST", path, body, {"content-type": "application/x-protobuf"})
                    response = connection.getresponse()
                    response.read()
                except (OSError, http.client.HTTPException):
                    return  # killed before the answer: such a batch may be stored or not, but not twice
                assert response.status in (200, 204)
                self.acknowledged.append(batch)


def kill_and_count(data: Path, kills: int, seed: int) -> None:
    """Kill a server under load that many times, then compare what is stored with what was acknowledged."""
    chance = random.Random(seed)
    senders = [Sender(signal, seed + i) for i, signal in enumerate(tuple(REQUESTS) * SENDERS)]
    server = ServerProcess(data)
    for _ in range(kills):
        server.start()
        for sender in senders:
            sender.start(server)
        time.sleep(chance.uniform(0.2, 1.5))
        server.kill()
        for sender in senders:
            sender.stop()
    server.start()
    server.wait_drained()
    server.stop()
    command = [sys.executable, str(Path(__file__).with_name("stored.py")), str(data)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for signal, stored in found.items():
        acknowledged = [batch for sender in senders if sender.signal == signal for batch in sender.acknowledged]
        assert len(acknowledged) > kills
        assert {batch: stored.get(batch, 0) for batch in acknowledged} == dict.fromkeys(acknowledged, ITEMS)
        assert set(stored.values()) == {ITEMS}, "a batch that was never acknowledged is stored in part or twice"


def test_every_acknowledged_item_is_stored_once_after_three_kills_under_load(tmp_path: Path) -> None:
    kill_and_count(tmp_path, kills=3, seed=1)


@pytest.mark.long
def test_every_acknowledged_item_is_stored_once_after_twenty_kills_under_load(tmp_path: Path) -> None:
    kill_and_count(tmp_path, kills=20, seed=2)
