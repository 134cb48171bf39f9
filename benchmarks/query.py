"""How fast questions are answered over many rows, through the API: medians of repeated, differing requests.

Makes its rows itself, through the receivers: traces of eight spans and log lines of eight words, of one day or,
the harder case for whoever looks for one trace, of one minute.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

from ingest import measure
from payloads import WORDS
from server import Server, running_server

ROWS = 10_000_000
REPEATS = 15
START = "now-25h"


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--hours", type=float, default=24.0, help="the time they lie in; 0: as they are sent, a minute")
    arguments = parser.parse_args()
    rows = arguments.rows
    with running_server() as server:
        for signal in ("traces", "logs"):
            figures = measure(server, signal, rows, hours=arguments.hours)
            speed, size = figures["drained_per_second"], figures["bytes_per_item"]
            print(f"{signal}: {rows:,} items of {arguments.hours:g} hours, {speed:,.0f}/s, {size:.1f} B each")
        server.settle()
        print(f"\n{'median of ' + str(REPEATS):44}{'ms':>8}{'worst':>8}{'target':>8}{'ratio':>7}")
        for name, target_ms, ask in _questions(server, arguments.hours):
            times = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                ask()
                times.append((time.perf_counter() - start) * 1000)
            median = statistics.median(times)
            print(f"{name:44}{median:8.1f}{max(times):8.1f}{target_ms:8.0f}{median / target_ms:7.2f}")


def _questions(server: Server, hours: float) -> list[tuple[str, float, Callable[[], object]]]:
    ends = [f"now-{round(i * hours * 3600 / 20)}s" for i in range(20)]
    pages = [server.get("/api/wk/traces", limit=50, start=START, end=end)["traces"] for end in ends]
    traces = [trace["trace_id"] for page in pages for trace in page]

    def logs(words: str) -> object:
        answer = server.get("/api/wk/logs", words=words, start=START, limit=50)
        assert answer["logs"], words
        return answer

    def counts(words: str) -> object:
        return server.get("/api/wk/logs/counts", words=words, start=START)

    def rare() -> str:
        return f"{random.randint(0, 999_999):06}"

    return [
        ("trace by id", 30, lambda: server.get(f"/api/wk/traces/{random.choice(traces)}")),
        ("newest traces of a service", 200, lambda: server.get("/api/wk/traces", service="shop", start=START)),
        ("traces with an error, newest", 200, lambda: server.get("/api/wk/traces", status="error", start=START)),
        ("log search: a common word", 300, lambda: logs(random.choice(WORDS))),
        ("log search: a rare number, 10 lines of 10 M", 300, lambda: logs(f"order_id={rare()}")),
        ("log search: two words and a level", 300, lambda: logs(" ".join(random.sample(WORDS, 2)))),
        ("log counts of a word over a day", 300, lambda: counts(random.choice(WORDS))),
        ("log counts of everything over a day", 300, lambda: counts("")),
        ("services over a day", 500, lambda: server.get("/api/wk/services", start=START)),
    ]


if __name__ == "__main__":
    main()
