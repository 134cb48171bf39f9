"""How fast each signal is taken in: acknowledged after fsync, drained to disk, searchable; the generator beside it.

Drained means that the server's backlog is empty and that the API counts every item sent. CPU is the whole server's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from server import Server, running_server

ITEMS = {"traces": 2_000_000, "logs": 4_000_000, "metrics": 5_000_000, "samples": 10_000_000}
TARGETS = {"traces": 150_000, "logs": 250_000, "metrics": 400_000, "samples": 600_000}
UNITS = {"traces": "spans", "logs": "log records", "metrics": "points", "samples": "samples"}
# Seconds from one sample of a series to the next, so that series look as they would; other items are dated now.
SERIES, STEP_SECONDS = 10_000, 15


def measure(server: Server, signal: str, items: int, rate: float = 0.0, hours: float = 0.0) -> dict[str, float]:
    """Send that many items, dated now or over the last so many hours, and wait until all are stored."""
    script = str(Path(__file__).with_name("generate.py"))
    place = server.url if signal == "samples" else server.otlp
    generator = subprocess.Popen(
        [sys.executable, script, place, signal, str(items), str(rate), str(hours)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert generator.stdout
    assert generator.stdin
    generator.stdout.readline()
    disk, cpu, start = server.stored_bytes(), server.cpu_seconds(), time.monotonic()
    generator.stdin.write("go\n")
    generator.stdin.flush()
    sent = json.loads(generator.stdout.readline())
    while not server.drained():
        time.sleep(0.02)
    seconds = time.monotonic() - start
    cpu = server.cpu_seconds() - cpu
    received = server.metric("watchkeeper_received_items_total")
    assert generator.wait() == 0
    return {
        "items": sent["acknowledged"],
        "received": received,
        "accepted_per_second": sent["acknowledged"] / sent["seconds"],
        "drained_per_second": sent["acknowledged"] / seconds,
        "cpu_per_million": cpu / sent["acknowledged"] * 1e6,
        "generator_cpu_per_million": sent["cpu_seconds"] / sent["acknowledged"] * 1e6,
        "retried": sent["retried"],
        "bytes_per_item": (server.stored_bytes() - disk) / sent["acknowledged"],
        "peak_resident": server.memory_bytes()["resident"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signals", default=",".join(ITEMS))
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of items")
    arguments = parser.parse_args()
    titles = ("drained/s", "target", "ratio", "accepted/s", "CPU s/M", "gen. s/M", "B/item")
    print(f"{'':14}" + "".join(f"{title:>11}" for title in titles))
    for signal in arguments.signals.split(","):
        with running_server() as server:
            measure(server, signal, 100_000)  # the first loads pay for caches and code pages
            items = int(ITEMS[signal] * arguments.scale)
            hours = items / SERIES * STEP_SECONDS / 3600 if signal == "samples" else 0.0
            figures = measure(server, signal, items, hours=hours)
        row = (
            f"{figures['drained_per_second']:,.0f}",
            f"{TARGETS[signal]:,}",
            f"{figures['drained_per_second'] / TARGETS[signal]:.2f}",
            f"{figures['accepted_per_second']:,.0f}",
            f"{figures['cpu_per_million']:.2f}",
            f"{figures['generator_cpu_per_million']:.2f}",
            f"{figures['bytes_per_item']:.1f}",
        )
        print(f"{UNITS[signal]:14}" + "".join(f"{figure:>11}" for figure in row), flush=True)


if __name__ == "__main__":
    main()
