"""What health costs: a cached answer, and a fresh pass of all checks.

A cached answer is what `/health` and its like cost the event loop: CPU of `Endpoint.now`, and of a whole request
through the ASGI middleware, without a socket. A fresh pass runs every check, among them twenty of the application's,
and waits for all. The targets are 0.1 ms and 100 ms.

    python benchmarks/health.py
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import watchkeeper as wk
from watchkeeper.endpoints import Asked, endpoints

ROUNDS, CALLS, CHECKS = 7, 20_000, 20
PATHS = ("/health", "/health/live", "/health/ready", "/health/status")


async def application(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def microseconds(call: Callable[[], object]) -> float:
    """CPU of one call, the median of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            call()
        rounds.append((time.process_time() - began) / CALLS * 1e6)
    return statistics.median(rounds)


async def request_microseconds(app: Any, path: str) -> float:
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(_message: Any) -> None: ...

    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            await app(dict(scope), receive, send)
        rounds.append((time.process_time() - began) / CALLS * 1e6)
    return statistics.median(rounds)


def main() -> None:
    wk.configure(wk.Options(export={}, logs=wk.LogOptions(stream="off"), health=wk.HealthOptions(details="always")))
    for number in range(CHECKS):
        wk.health_check(f"check-{number}", critical=not number % 2)(lambda: {"rows": 3, "lag_seconds": 0.5})
    app = wk.instrument(application)
    wk.health(fresh=True)
    print(f"{'path':<20}{'now, µs':>12}{'request, µs':>14}")
    for path in PATHS:
        asked, endpoint = Asked(path, "", ""), endpoints.by_path[path]
        alone = microseconds(lambda endpoint=endpoint, asked=asked: endpoint.now(asked))
        whole = asyncio.run(request_microseconds(app, path))
        print(f"{path:<20}{alone:>12.2f}{whole:>14.2f}")
    passes = []
    for _ in range(20):
        began = time.perf_counter()
        wk.health(fresh=True)
        passes.append((time.perf_counter() - began) * 1e3)
    count = len(wk.health().checks)
    print(f"fresh pass of {count} checks: {statistics.median(passes):.1f} ms, at worst {max(passes):.1f}")
    wk.shutdown()


if __name__ == "__main__":
    main()
