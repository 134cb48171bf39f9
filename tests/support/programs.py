"""Programs and servers in processes of their own, for tests that look at what arrived from them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from support.ports import unused_port
from support.sdk import Sink, attributes, eventually

RUN = [sys.executable, "-m", "watchkeeper_command", "run", "--"]


def environment(url: str = "http://127.0.0.1:9", **more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SERVICE_NAME": "shop", **more}


def ended(command: Sequence[str], folder: Path, url: str = "http://127.0.0.1:9", **more: str) -> Any:
    """A program that has run to its end."""
    return subprocess.run(
        command, cwd=folder, env=environment(url, **more), capture_output=True, text=True, timeout=60, check=False
    )


class Server:
    """One that serves: where, and after its end what it printed."""

    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self.port = port
        self.process = process
        self.out = self.errors = ""

    def get(self, path: str) -> int:
        """The status of the answer.

        Asked again where a worker that is leaving resets a connection which it has not served: had it served it, counts
        that are to be exact would tell.
        """
        for _ in range(5):
            try:
                return self._get(path)
            except ConnectionResetError:
                continue
        return self._get(path)

    def _get(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def stop(self) -> None:
        """As a deployment does it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.out, self.errors = self.process.communicate(timeout=20)


@contextmanager
def serving(command: Callable[[int], Sequence[str]], folder: Path, sink: Sink, **more: str) -> Iterator[Server]:
    """A server that listens; `command` is told its port. Stopped at the end of the block."""
    port = unused_port()
    process = subprocess.Popen(
        command(port),
        cwd=folder,
        env=environment(sink.url, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = Server(port, process)
    try:
        eventually(lambda: _listening(port) or process.poll() is not None, 30)
        assert process.poll() is None, process.communicate()
        yield server
    finally:
        server.stop()


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def counted(sink: Sink, name: str, label: str) -> dict[str, float]:
    """A counter by one of its labels: the last reading of each process, summed."""
    last: dict[tuple[str, tuple[tuple[str, Any], ...]], tuple[str, float]] = {}
    for body in sink.bodies("/v1/metrics"):
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            instance = attributes(resource.resource)["service.instance.id"]
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                if metric.name.removesuffix("_total") == name.removesuffix("_total"):
                    for point in metric.sum.data_points:
                        labels = attributes(point)
                        key = (instance, tuple(sorted(labels.items())))
                        last[key] = (labels[label], point.as_double or point.as_int)
    summed: dict[str, float] = {}
    for value, count in last.values():
        summed[value] = summed.get(value, 0) + count
    return summed
