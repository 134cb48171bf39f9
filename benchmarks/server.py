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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

READY_SECONDS = 60


class Program:
    """A server of any make, watched from outside."""

    def __init__(self, command: Sequence[str], url: str, ready: str, log: Path) -> None:
        """Start it and wait until the path `ready` answers 200; `ready_seconds` tells how long that took."""
        self.url = url
        start = time.monotonic()
        self.process = subprocess.Popen(command, stdout=log.open("ab"), stderr=subprocess.STDOUT)
        while not self._is_ready(ready):
            if self.process.poll() is not None or time.monotonic() - start > READY_SECONDS:
                self.process.kill()
                raise RuntimeError(log.read_text())
            time.sleep(0.01)
        self.ready_seconds = time.monotonic() - start

    def cpu_seconds(self) -> float:
        """CPU the process has used, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory, and the anonymous part of it, which no file backs."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        sizes = {name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
        return {"resident": sizes["Rss"], "private": sizes["Anonymous"]}

    def settle(self, quiet_seconds: int = 6, at_most_seconds: float = 300.0) -> None:
        """Wait until background merges have caught up: less than a tenth of a core for so long."""
        quiet, deadline = 0, time.monotonic() + at_most_seconds
        while quiet < quiet_seconds and time.monotonic() < deadline:
            cpu = self.cpu_seconds()
            time.sleep(2)
            quiet = quiet + 2 if self.cpu_seconds() - cpu < 0.2 else 0

    def stop(self) -> None:
        """Stop it as a user would."""
        self.process.terminate()
        self.process.wait(30)

    def _is_ready(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(self.url + path, timeout=1) as answer:  # noqa: S310  http, our own
                return bool(answer.status == 200)
        except OSError:
            return False


class Server(Program):
    """A running `watchkeeper serve`."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Start it with its data in that folder and wait until it is ready; later options count."""
        ports = free_ports(3)
        url, self.otlp = (f"http://127.0.0.1:{port}" for port in ports[:2])
        self.folder = folder
        command = [sys.executable, "-m", "watchkeeper_server", "serve", "--data", str(folder)]
        for option, port in zip(("--listen", "--otlp-http", "--otlp-grpc"), ports, strict=True):
            command += [option, f"127.0.0.1:{port}"]
        super().__init__([*command, *options], url, "/-/ready", folder.parent / "server.log")

    def get(self, path: str, **parameters: Any) -> Any:
        """An answer of the JSON API."""
        query = f"?{urllib.parse.urlencode(parameters, doseq=True)}" if parameters else ""
        with urllib.request.urlopen(self.url + path + query, timeout=60) as answer:  # noqa: S310  http, our own
            return json.load(answer)

    def metric(self, name: str, labels: str = "") -> float:
        """The sum of one of the server's own metrics over its labels, or where they match an expression."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:  # noqa: S310  http, our own
            text = answer.read().decode()
        line = re.compile(rf"{name}(?:\{{.*{labels}.*\}})? ")
        return sum(float(found.rsplit(" ", 1)[1]) for found in text.splitlines() if line.match(found))

    def drained(self) -> bool:
        """Whether everything acknowledged is stored and searchable."""
        return self.metric("watchkeeper_backlog_bytes") == 0

    def stored_bytes(self, tables: str = "") -> float:
        """What the stored rows take on disk, compressed, with their indexes; of all tables or of those (`a|b`)."""
        return self.metric("watchkeeper_stored_bytes", f'table="(?:{tables})"' if tables else "")


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


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [bound.getsockname()[1] for bound in sockets]
