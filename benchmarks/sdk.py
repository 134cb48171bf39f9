"""CPU that instrumentation adds to a request, in FastAPI, Flask and Django: ours beside what teams use today.

What is measured: process CPU (`time.process_time`, so exporter threads count) per request, for an application called
in its own process by a loop, without a socket; that is the quietest way to see tens of microseconds. Exporters send
over HTTP to a sink in another process, whose CPU does not count. Every variant runs in a process of its own; rounds
are interleaved, and the table shows medians over rounds. A stack counts only if all it promised arrived: spans and log
records are counted at the sink, log lines in the file.

    python benchmarks/sdk.py                                        # everything: twenty minutes
    python benchmarks/sdk.py --frameworks fastapi --routes 1        # two
    python benchmarks/sdk.py --quick --only watchkeeper usual

Stacks whose packages are not installed are left out, and named: `benchmarks/requirements.lock` has all of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sdk_apps import FRAMEWORKS, call, make_app
from sdk_sink import Sink
from sdk_stacks import STACKS

WARM_UP = 2_000  # requests: until then caches fill and connections open; what they leave behind is sent before


def measure(name: str, framework: str, routes: int, requests: int, log_path: Path) -> dict[str, float]:
    """One measurement, in a process of its own."""
    steps = STACKS[name].steps(framework, log_path)
    say = next(steps)
    app = steps.send(make_app(framework, routes, say))
    call(framework, app, WARM_UP)
    next(steps)
    before, began = time.process_time(), time.perf_counter()
    call(framework, app, requests)
    next(steps, None)  # what is still queued is part of the price
    cpu, wall = time.process_time() - before, time.perf_counter() - began
    return {"cpu_us": cpu / requests * 1e6, "wall_us": wall / requests * 1e6, "requests": requests + WARM_UP}


class Missing(Exception):  # noqa: N818  # it is no failure of a stack
    """A stack whose packages are not installed."""


def run_one(name: str, framework: str, routes: int, requests: int, sink: Sink, folder: Path) -> float:
    """CPU microseconds per request, after checking that everything arrived."""
    stack, log_path = STACKS[name], folder / f"{name}.log"
    url = f"http://127.0.0.1:{sink.port}"
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_BSP_MAX_QUEUE_SIZE": "65536",
        "OTEL_BLRP_MAX_QUEUE_SIZE": "65536",
        "WATCHKEEPER_LOG_FORMAT": "json",
        "DD_TRACE_AGENT_URL": url,
        "DD_SERVICE": "shop",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        "SINK": url,
    }
    if name == "watchkeeper":
        environment["OTEL_LOGS_EXPORTER"] = "none"
    options = {"measure": name, "frameworks": framework, "routes": routes, "requests": requests, "log": log_path}
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    # Watchkeeper's lines go where applications' lines go: to stdout, here the log file. The result comes on stderr.
    with (log_path if stack.stdout else Path(os.devnull)).open("w") as out:
        done = subprocess.run(
            [sys.executable, __file__, *words],
            env=environment,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        if "ModuleNotFoundError" in done.stderr:
            raise Missing(done.stderr.splitlines()[-1])
        raise SystemExit(f"{name} in {framework} failed:\n{done.stderr}")
    result = json.loads(next(line for line in reversed(done.stderr.splitlines()) if line.startswith("{")))
    served = int(result["requests"])
    got = sink.counts()
    lines = sum("order shown" in line for line in log_path.open()) if log_path.exists() else 0
    wanted = (stack.spans_in(framework) * served, stack.records * served, stack.lines * served)
    spans = min(got["spans"], wanted[0]) if stack.at_least else got["spans"]
    if (spans, got["records"], lines) != wanted:
        raise SystemExit(
            f"{name} in {framework} did not deliver: {got['spans']}, {got['records']}, {lines} spans, records, lines;"
            f" not {wanted}\n{done.stderr}"
        )
    return float(result["cpu_us"])


def compare(framework: str, routes: int, names: list[str], rounds: int, requests: int, sink: Sink) -> None:
    """Prints one table."""
    figures: dict[str, list[float]] = {name: [] for name in dict.fromkeys(["bare", *names])}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _round in range(rounds):
            for name, found in figures.items():
                if name in missing:
                    continue
                try:
                    found.append(run_one(name, framework, routes, requests, sink, Path(folder)))
                except Missing as error:
                    missing[name] = str(error)
    bare = statistics.median(figures["bare"])
    over = {name: statistics.median(found) - bare for name, found in figures.items() if found and name != "bare"}
    print(f"\n{framework}, {routes} {'route' if routes == 1 else 'routes'}: bare {bare:.1f} µs")
    print(f"{'':<68} {'µs over bare':>12} {'spread':>14} {'of usual':>9} {'of tuned':>9}")
    for name, extra in over.items():
        low, high = min(figures[name]) - bare, max(figures[name]) - bare
        shares = [f"{extra / over[peer]:.2f}" if peer in over else "" for peer in ("usual", "tuned")]
        print(f"{STACKS[name].title:<68} {extra:>12.1f} {f'{low:.0f} to {high:.0f}':>14} {shares[0]:>9} {shares[1]:>9}")
    for name, reason in missing.items():
        print(f"{STACKS[name].title:<68} left out: {reason}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer requests and rounds")
    parser.add_argument("--only", nargs="*", default=list(STACKS), choices=list(STACKS), help="stacks to run")
    parser.add_argument("--frameworks", nargs="*", default=list(FRAMEWORKS), choices=FRAMEWORKS)
    parser.add_argument("--routes", nargs="*", type=int, default=[1, 100])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--requests", type=int)
    parser.add_argument("--measure", choices=list(STACKS), help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    requests = options.requests or (1_000 if options.quick else 4_000)
    if options.measure:
        result = measure(options.measure, options.frameworks[0], options.routes[0], requests, options.log)
        print(f"\n{json.dumps(result)}", file=sys.stderr)
        return
    rounds = options.rounds or (2 if options.quick else 5)
    print(f"Process CPU per request, called in the process; medians of {rounds} rounds of {requests} requests")
    found = importlib.util.find_spec("watchkeeper.integrations.asgi")
    compiled = found is not None and not str(found.origin).endswith(".py")
    print(f"Watchkeeper is {'compiled, as in a released wheel' if compiled else 'interpreted'}")
    sink = Sink()
    try:
        for framework in options.frameworks:
            for routes in options.routes:
                compare(framework, routes, options.only, rounds, requests, sink)
    finally:
        sink.close()


if __name__ == "__main__":
    main()
