"""What a server costs that does nothing: time to ready, memory after it has settled, CPU while idle."""

from __future__ import annotations

import time

from ingest import measure
from server import running_server

TARGETS = {"ready_seconds": 3.0, "resident_mb": 500.0, "private_mb": 250.0}
IDLE_SECONDS = 20.0


def main() -> None:
    """Print one table: a new server, then one that has worked and rests."""
    print(f"{'':26}{'figure':>10}{'target':>10}{'ratio':>8}")
    with running_server() as server:
        _row("ready, s", server.ready_seconds, TARGETS["ready_seconds"])
        cpu = server.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        print(f"{'CPU while idle, %':26}{(server.cpu_seconds() - cpu) / IDLE_SECONDS * 100:10.2f}")
        _memory("new", server.memory_bytes())
        for signal in ("traces", "logs", "metrics"):
            measure(server, signal, 200_000)
        time.sleep(IDLE_SECONDS)
        _memory("after 600,000 items", server.memory_bytes())


def _memory(when: str, sizes: dict[str, int]) -> None:
    for kind in ("resident", "private"):
        _row(f"{kind} MB, {when}", sizes[kind] / 1e6, TARGETS[f"{kind}_mb"])


def _row(name: str, figure: float, target: float) -> None:
    print(f"{name:26}{figure:10.2f}{target:10.2f}{figure / target:8.2f}")


if __name__ == "__main__":
    main()
