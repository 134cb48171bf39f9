"""Many targets to scrape in one cheap process: each path `/metrics/N` is an exporter of 1,000 series.

Prints its port, then serves until it is killed; `/served` tells how many samples it has served.
"""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

FAMILIES, DEVICES = 100, 10
SERIES = FAMILIES * DEVICES


class Exporter:
    """One target's text: as with node_exporter a third never changes, a third are counters, a third gauges."""

    def __init__(self, number: int) -> None:
        lines = []
        for family in range(FAMILIES):
            name = f"fake_figure_{family}" + ("_total" if family % 3 == 0 else "")
            kind = "counter" if family % 3 == 0 else "gauge"
            lines += [f"# HELP {name} A figure of the machine.", f"# TYPE {name} {kind}"]
            lines += [f'{name}{{device="dev{device}",family="{family}"}} %r' for device in range(DEVICES)]
        self._text = "\n".join(lines) + "\n"
        self._chance = np.random.default_rng(number)
        self._kinds = np.repeat(np.arange(FAMILIES) % 3, DEVICES)
        self._values = np.floor(10 ** self._chance.uniform(0, 9, SERIES))

    def scrape(self) -> bytes:
        """The exposition, each time another one."""
        up = np.floor(self._chance.random(SERIES) * 1000)
        wander = np.round(self._chance.standard_normal(SERIES), 2)
        self._values += np.select([self._kinds == 0, self._kinds == 1], [up, wander])
        return (self._text % tuple(self._values.tolist())).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    exporters: dict[str, Exporter] = {}  # noqa: RUF012  all handlers share it
    lock = threading.Lock()
    served = 0

    def handle(self) -> None:
        """Serve a connection until whoever opened it is gone."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """Serve a target, or tell how much was served."""
        with self.lock:
            if self.path == "/served":
                body = str(self.served).encode()
            else:
                exporter = self.exporters.get(self.path) or Exporter(len(self.exporters))
                body = self.exporters.setdefault(self.path, exporter).scrape()
                type(self).served += SERIES
        with contextlib.suppress(ConnectionError):  # who asked has been stopped
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
