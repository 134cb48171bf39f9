"""The systems whose metrics are compared: each starts with an empty folder and says what is its own about it.

All three take remote write and scrape by a prometheus.yml, answer PromQL under /api/v1, and run as they come but for
what is named here.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from server import Program, Server, free_ports


class Asked:
    """Asks a server over one connection that is kept open."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=300)

    def post(self, path: str, **parameters: str | float) -> bytes:
        """The answer to a form, as dashboards send them."""
        form = urllib.parse.urlencode(parameters)
        self._connection.request("POST", path, form, {"content-type": "application/x-www-form-urlencoded"})
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} {parameters}: {response.status}: {body[:500]!r}")
        return body


class Watchkeeper(Server):
    """This server."""

    name, program = "Watchkeeper", sys.executable

    def __init__(self, folder: Path, config: Path) -> None:
        options = ("--otlp-http", "off", "--otlp-grpc", "off", "--retention", "off", "--config", str(config))
        super().__init__(folder, *options)
        self.asked = Asked(self.url)

    def compacted_bytes(self) -> float:
        """What samples and series take once it is quiet, indexes included."""
        return self.stored_bytes("samples|series")


class Prometheus(Program):
    """Debian's Prometheus."""

    name, program = "Prometheus", "prometheus"

    def __init__(self, folder: Path, config: Path) -> None:
        url = f"http://127.0.0.1:{free_ports(1)[0]}"
        command = [
            self.program, f"--config.file={config}", f"--storage.tsdb.path={folder}",
            f"--web.listen-address={urllib.parse.urlsplit(url).netloc}", "--web.enable-remote-write-receiver",
            "--web.enable-admin-api", "--storage.tsdb.retention.time=1y", "--log.level=warn",
        ]  # fmt: skip
        super().__init__(command, url, "/-/ready", folder.parent / "server.log")
        self.asked, self.folder = Asked(url), folder

    def drained(self) -> bool:
        """It has no backlog."""
        return True

    def compacted_bytes(self) -> float:
        """What everything takes as blocks, as a snapshot makes them."""
        self.asked.post("/api/v1/admin/tsdb/snapshot")
        size = folder_bytes(self.folder / "snapshots")
        shutil.rmtree(self.folder / "snapshots")
        return size


class VictoriaMetrics(Program):
    """Debian's VictoriaMetrics, told not to hide the last 30 seconds: it is compared by what queries see."""

    name, program = "VictoriaMetrics", "victoria-metrics"

    def __init__(self, folder: Path, config: Path) -> None:
        url = f"http://127.0.0.1:{free_ports(1)[0]}"
        command = [
            self.program, f"-promscrape.config={config}", f"-storageDataPath={folder}",
            f"-httpListenAddr={urllib.parse.urlsplit(url).netloc}", "-retentionPeriod=1y", "-loggerLevel=WARN",
            "-search.latencyOffset=0s",
        ]  # fmt: skip
        super().__init__(command, url, "/health", folder.parent / "server.log")
        self.asked, self.folder = Asked(url), folder

    def drained(self) -> bool:
        """Its backlog is in its memory and shows by nothing but queries."""
        return True

    def compacted_bytes(self) -> float:
        """What data and indexes take once all parts are merged."""
        self.asked.post("/internal/force_merge")
        self.settle()
        return folder_bytes(self.folder)


System = Watchkeeper | Prometheus | VictoriaMetrics
SYSTEMS: tuple[type[System], ...] = (Watchkeeper, Prometheus, VictoriaMetrics)


@contextlib.contextmanager
def running(system: type[System], config: str = "scrape_configs: []\n") -> Iterator[System]:
    """The system with an empty folder, both gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="watchkeeper-bench-"))
    (folder / "prometheus.yml").write_text(config)
    try:
        server = system(folder / "data", folder / "prometheus.yml")
        try:
            yield server
        except Exception:
            print(f"{server.name}'s log ends:", *(folder / "server.log").read_text().splitlines()[-40:], sep="\n")
            raise
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def folder_bytes(folder: Path) -> float:
    """What a folder's files take on disk."""
    return float(sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()))


def instant(system: System, query: str, time_ms: float) -> list[dict[str, Any]]:
    """The vector that a query comes to."""
    body = system.asked.post("/api/v1/query", query=query, time=time_ms / 1000)
    result: list[dict[str, Any]] = json.loads(body)["data"]["result"]
    return result


def selector(labels: Mapping[str, str]) -> str:
    """PromQL that selects one series."""
    others = ",".join(f'{name}="{value}"' for name, value in labels.items() if name != "__name__")
    return f"{labels['__name__']}{{{others}}}"


def wait_until_seen(system: System, labels: Mapping[str, str], time_ms: int, seconds: float = 120.0) -> None:
    """Wait until a query sees a series' sample of that time."""
    deadline = time.monotonic() + seconds
    while True:
        seen = instant(system, f"timestamp({selector(labels)})", time_ms)
        if seen and float(seen[0]["value"][1]) * 1000 == time_ms:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{system.name} does not show {selector(labels)} at {time_ms}")
        time.sleep(0.05)
