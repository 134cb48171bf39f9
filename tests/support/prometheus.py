"""A real Prometheus to compare with: the one of the system's packages, in a folder and on a port of its own."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Self

import httpx

from support.ports import unused_port

BINARY = shutil.which("prometheus")
FLAGS = (
    "--web.enable-remote-write-receiver",
    "--enable-feature=native-histograms,promql-negative-offset,promql-at-modifier",
    "--storage.tsdb.retention.time=10y",
    "--log.level=warn",
)


class PrometheusProcess:
    """Runs while the context is open; `url` is where."""

    def __init__(self, folder: Path) -> None:
        if BINARY is None:
            raise FileNotFoundError("there is no program named prometheus; Debian's package of that name has it")
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "prometheus.yml"
        config.write_text("global: {}\n")
        port = unused_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "log"
        self._command = (
            BINARY,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            *FLAGS,
        )

    def __enter__(self) -> Self:
        """Starts it and waits until it is ready.

        Raises:
            RuntimeError: it was not within 30 seconds.
        """
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/-/ready").is_success:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        self._process.kill()
        raise RuntimeError(f"Prometheus did not start: {self._log.read_text()}")

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait()
