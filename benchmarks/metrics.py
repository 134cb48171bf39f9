"""Metrics side by side with Prometheus and VictoriaMetrics: taken in and kept, asked for, scraped.

The systems run in turn, each alone and with an empty folder, and get the same: the data is made anew for each from the
same seeds. Ratios are ours by the peer's. Debian's `prometheus` and `victoria-metrics` are needed; what is not there is
left out by name. About twelve minutes, with `--quick` five.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from exporters import SERIES
from peers import (
    SYSTEMS,
    Prometheus,
    System,
    VictoriaMetrics,
    Watchkeeper,
    folder_bytes,
    instant,
    running,
    wait_until_seen,
)
from questions import REPEATS, Answer, Question, ask, difference, questions, rough_difference
from remote_write import SENDERS, sets_of, shards_of

HERE = Path(__file__).parent
Targets = tuple[int, int]  # how many, and seconds from scrape to scrape
FEW, MANY = (50, 2), (1000, 15)
MILLION, MEGABYTE = 1e6, 1e6
UNCACHED = "uncached"
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, nothing older than an hour")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument("--systems", default=",".join(one.name for one in SYSTEMS), help="some of %(default)s")
    arguments = parser.parse_args()
    systems = [one for one in SYSTEMS if one.name in arguments.systems.split(",")]
    for missing in [one for one in systems if not shutil.which(one.program)]:
        print(f"{missing.name} is left out: install {missing.program}")
        systems.remove(missing)
    wrong = [text for part in arguments.parts.split(",") for text in PARTS[part](systems, quick=arguments.quick)]
    if wrong:
        raise SystemExit("\n".join(["", "not as they should be:", *wrong]))


def compare_ingest(systems: Sequence[type[System]], *, quick: bool) -> list[str]:
    """Print what taking samples in costs, and what they take on disk."""
    sets = sets_of("ingest-quick" if quick else "ingest")
    print(f"""
Remote write 1.0 of {sum(one.samples for one in sets):,} samples: 10,000 series as node_exporter's, a sample in 15 s,
2,000 of them a request; {SENDERS} senders in another process on the same cores. Ours acknowledges after fsync.
  accepted/s     samples until all are acknowledged; `drained`: until queries see the last of each request
  CPU s/M        of the server until drained, for a million samples; `merged`: until background merges are done too
  MB             resident memory when drained
  B/sample       on disk, merged: our samples and series, Prometheus' blocks of everything, VictoriaMetrics' all
  B, folder      everything after a stop: also logs not yet cut off, other tables, merged parts not yet deleted""")
    table = {one.name: _ingest(one, quick=quick) for one in systems}
    _print_systems(table)
    return []


def compare_scrape(systems: Sequence[type[System]], *, quick: bool) -> list[str]:
    """Print what scraping a few targets often costs."""
    return _compare_scrape(systems, FEW, 4 if quick else 20)


def compare_many(systems: Sequence[type[System]], *, quick: bool) -> list[str]:
    """Print what scraping many targets costs."""
    return _compare_scrape(systems, MANY, 15 if quick else 45)


def compare_query(systems: Sequence[type[System]], *, quick: bool) -> list[str]:
    """Print how long answers take, and whether they agree."""
    plan = "query-quick" if quick else "query"
    asked = list(questions(quick=quick))
    end_ms = int(time.time()) // 60 * 60_000
    print(f"""
Queries over HTTP, one at a time on one connection, ms until the last byte; medians of {REPEATS} after one not counted,
each a minute later than the one before. `x` is a counter with that many series, a sample in 15 s (30 days: in 60 s).
VictoriaMetrics keeps answers and computes only what is new of them; `{UNCACHED}` asks it not to.""")
    answers: dict[str, list[Answer]] = {}
    for system in systems:
        with running(system) as server:
            sent = _send(server, plan, end_ms)
            server.settle(_quiet(quick=quick))
            print(f"{server.name} took {sent['samples']:,.0f} samples in {sent['seconds']:.1f} s", flush=True)
            answers[server.name] = [ask(server.asked, question, end_ms) for question in asked]
            if isinstance(server, VictoriaMetrics):
                answers[UNCACHED] = [ask(server.asked, question, end_ms, nocache="1") for question in asked]
    return _print_answers(asked, answers)


PARTS = {"ingest": compare_ingest, "query": compare_query, "scrape": compare_scrape, "many": compare_many}


def _ingest(system: type[System], *, quick: bool) -> Figures:
    with running(system) as server:
        cpu = server.cpu_seconds()
        sent = _send(server, "ingest-quick" if quick else "ingest", int(time.time()) // 60 * 60_000)
        samples, drained_cpu = sent["samples"], server.cpu_seconds() - cpu
        resident = server.memory_bytes()["resident"]
        server.settle(_quiet(quick=quick))
        merged_cpu, compacted = server.cpu_seconds() - cpu, server.compacted_bytes()
        server.stop()
        return {
            "accepted/s": samples / sent["seconds"],
            "drained/s": samples / sent["drained_seconds"],
            "CPU s/M": drained_cpu / samples * MILLION,
            "merged": merged_cpu / samples * MILLION,
            "MB": resident / MEGABYTE,
            "B/sample": compacted / samples,
            "B, folder": folder_bytes(server.folder) / samples,
            "sender s/M": sent["cpu_seconds"] / samples * MILLION,
        }


def _send(server: System, plan: str, end_ms: int) -> Figures:
    """Send a plan from another process, until queries see the last sample of each shard; what it did, and how long."""
    command = [sys.executable, str(HERE / "remote_write.py"), f"{server.url}/api/v1/write", plan, str(end_ms)]
    shards = shards_of(sets_of(plan), end_ms)
    with _process(command) as sender:
        assert sender.stdin
        assert sender.stdout
        sender.stdout.readline()
        start = time.monotonic()
        sender.stdin.write("go\n")
        sender.stdin.flush()
        told = sender.stdout.readline()
        if not told:
            raise RuntimeError(f"{server.name} did not take everything")
    sent: Figures = json.loads(told)
    while not server.drained():
        time.sleep(0.02)
    for shard in shards:
        wait_until_seen(server, shard.labels[-1], shard.last_ms)
    return sent | {"drained_seconds": time.monotonic() - start}


def _compare_scrape(systems: Sequence[type[System]], targets: Targets, seconds: int) -> list[str]:
    count, interval = targets
    print(f"""
{count:,} targets of {SERIES:,} series, scraped every {interval} s; {seconds} s from the second scrape on.
  CPU s/M        of the server for a million samples
  % of a core    that it takes all the time
  MB             resident memory at the end
  served         samples that targets were asked for, by those that they should have been
  stored         samples that a query counts, by those served""")
    table = {one.name: _scrape(one, targets, seconds) for one in systems}
    _print_systems(table)
    return [
        f"{name} stored {figures['stored']:.0%} of the samples"
        for name, figures in table.items()
        if abs(figures["stored"] - 1) > 1.5 * interval / seconds
    ]


def _scrape(system: type[System], targets: Targets, seconds: float) -> Figures:
    count, interval = targets
    with _process([sys.executable, str(HERE / "exporters.py")]) as exporters:
        assert exporters.stdout
        port = int(exporters.stdout.readline())
        with running(system, _scrape_config(port, targets)) as server:
            while _served(port) < 2 * count * SERIES:
                time.sleep(0.1)
            served, cpu, start = _served(port), server.cpu_seconds(), time.monotonic()
            time.sleep(seconds)
            served, cpu, end_ms = _served(port) - served, server.cpu_seconds() - cpu, time.time() * 1000
            passed = time.monotonic() - start
            resident = server.memory_bytes()["resident"]
            time.sleep(2)  # the longest that any of them needs to show a sample
            # of every tenth family: a query of a million series is refused here
            counted = instant(server, f'sum(count_over_time({{job="fake",family=~".?0"}}[{seconds:.0f}s]))', end_ms)
            stored = 10 * float(counted[0]["value"][1]) if counted else 0.0
    return {
        "CPU s/M": cpu / served * MILLION,
        "% of a core": cpu / passed * 100,
        "MB": resident / MEGABYTE,
        "served": served / (passed / interval * count * SERIES),
        "stored": stored / served,
    }


def _scrape_config(port: int, targets: Targets) -> str:
    count, interval = targets
    groups = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"__metrics_path__": f"/metrics/{i}", "instance": f"machine-{i}"}}
        for i in range(count)
    ]
    job = {"job_name": "fake", "scrape_interval": f"{interval}s", "scrape_timeout": f"{min(interval, 10)}s"}
    return json.dumps({"scrape_configs": [job | {"static_configs": groups}]})  # JSON is YAML


def _served(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/served", timeout=10) as answer:
        return int(answer.read())


@contextmanager
def _process(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A helper that ends with us."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _print_systems(table: dict[str, Figures]) -> None:
    """A line for each system, then ours by each peer's."""
    columns = list(next(iter(table.values())))
    print(f"\n{'':24}" + "".join(f"{column:>14}" for column in columns))
    for name, figures in table.items():
        print(f"{name:24}" + "".join(f"{figures[column]:>14,.{_decimals(figures[column])}f}" for column in columns))
    ours = table.get(Watchkeeper.name)
    for name, figures in table.items():
        if ours and figures is not ours:
            ratios = "".join(f"{ours[column] / figures[column]:14.2f}" for column in columns)
            print(f"{'ours / ' + name:24}{ratios}")


def _print_answers(asked: Sequence[Question], answers: dict[str, list[Answer]]) -> list[str]:
    """A line for each question; answers what does not agree with ours."""
    ours = answers.get(Watchkeeper.name, [])
    peers = [name for name in answers if ours and name != Watchkeeper.name]
    columns = [*answers, *(f"ours / {name}" for name in peers)]
    widths = [max(10, len(column) + 2) for column in columns]
    ratios: list[list[float]] = []
    wrong: list[str] = []

    def line(title: str, figures: Sequence[float | str], decimals: int = 1) -> None:
        cells = [figure if isinstance(figure, str) else f"{figure:.{decimals}f}" for figure in figures]
        cells = [""] * (len(widths) - len(cells)) + cells
        print(f"{title:57}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))

    line(f"{'ms':40}{'series':>7}", columns)
    for i, question in enumerate(asked):
        taken = [of_one[i].milliseconds for of_one in answers.values()]
        ratios.append([ours[i].milliseconds / answers[name][i].milliseconds for name in peers])
        marked = [f"{ratio:.2f}" for ratio in ratios[-1]]
        for n, name in enumerate(peers):
            compare = difference if name == Prometheus.name else rough_difference
            if how := compare(ours[i], answers[name][i]):
                marked[n] = f"! {marked[n]}"
                wrong.append(f"{question.promql}, {question.kind}: {how} (ours first, {name})")
        line(f"{question.title:40}{question.series:>7,}{question.kind:>10}", [*taken, *marked])
    if peers:
        line("geometric mean", [statistics.geometric_mean(of_one) for of_one in zip(*ratios, strict=True)], 2)
        line("worst", [max(of_one) for of_one in zip(*ratios, strict=True)], 2)
    return wrong


def _quiet(*, quick: bool) -> int:
    return 2 if quick else 6


def _decimals(figure: float) -> int:
    return 0 if figure >= 1000 else 2


if __name__ == "__main__":
    main()
