"""A server under measurement: started with a data folder of its own, watched from outside."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

READY_SECONDS = 60


class Server:
    """A running `watchkeeper serve`."""

    def __init__(self, folder: Path) -> None:
        """Start it and wait until it is ready; `ready_seconds` tells how long that took."""
        ports = _free_ports(3)
        self.url, self.otlp = (f"http://127.0.0.1:{port}" for port in ports[:2])
        self.folder = folder
        command = [sys.executable, "-m", "watchkeeper_server", "serve", "--data", str(folder)]
        for option, port in zip(("--listen", "--otlp-http", "--otlp-grpc"), ports, strict=True):
            command += [option, f"127.0.0.1:{port}"]
        start = time.monotonic()
        self.process = subprocess.Popen(command, stderr=(folder.parent / "server.log").open("ab"))
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() - start > READY_SECONDS:
                raise RuntimeError((folder.parent / "server.log").read_text())
            time.sleep(0.01)
        self.ready_seconds = time.monotonic() - start

    def get(self, path: str, **parameters: Any) -> Any:
        """An answer of the JSON API."""
        query = f"?{urllib.parse.urlencode(parameters, doseq=True)}" if parameters else ""
        with urllib.request.urlopen(self.url + path + query, timeout=60) as answer:  # noqa: S310  http, our own
            return json.load(answer)

    def metric(self, name: str) -> float:
        """The sum of one of the server's own metrics over its labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:  # noqa: S310  http, our own
            text = answer.read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))

    def drained(self) -> bool:
        """Whether everything acknowledged is stored and searchable."""
        return self.metric("watchkeeper_backlog_bytes") == 0

    def cpu_seconds(self) -> float:
        """CPU the process has used, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory, and the anonymous part of it, which no file backs."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        sizes = {name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
        return {"resident": sizes["Rss"], "private": sizes["Anonymous"]}

    def stored_bytes(self) -> float:
        """What the stored rows take on disk, compressed, with their indexes."""
        return self.metric("watchkeeper_stored_bytes")

    def stop(self) -> None:
        """Stop it as a user would."""
        self.process.terminate()
        self.process.wait(30)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:  # noqa: S310  http, our own
                return bool(answer.status == 200)
        except OSError:
            return False


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """A server with an empty folder, both gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="watchkeeper-bench-"))
    server = Server(folder / "data")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [bound.getsockname()[1] for bound in sockets]
