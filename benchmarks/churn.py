"""What series that have ended cost those that live: questions about these, with and without a million dead ones.

Two servers, asked in turn. In one of them a deployment's pods, all of one metric, have come and gone until a day ago.
The tables of series are merged to the end, where the dead lie among the living. Each question differs a little, so that
none is answered from memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from server import Server
from watchkeeper_server.store.embedded import EmbeddedEngine
from watchkeeper_server.store.store import Store

TARGET_RATIO = 1.2
_SERIES = """
INSERT INTO series
SELECT
    'pods' AS metric, series_id(metric, labels) AS id,
    CAST(map(
        'instance', concat('10.0.', toString(number % 256), ':8080'), 'job', 'web', 'namespace', 'shop',
        'pod', concat({kind:String}, '-', lower(hex(number * 2654435761)))
    ) AS Map(LowCardinality(String), String)) AS labels,
    toStartOfInterval(fromUnixTimestamp({now:UInt32}), INTERVAL 10 MINUTE) - INTERVAL 50 HOUR AS first_seen,
    first_seen + if({kind:String} = 'live', toIntervalSecond(180600), toIntervalSecond(3600 * (1 + number % 22)))
        AS last_seen
FROM numbers({count:UInt64})
"""
_SAMPLES = """
INSERT INTO samples
SELECT
    metric, id, least(last_seen, fromUnixTimestamp({now:UInt32})) - 15 * arrayJoin(range({each:UInt32})) AS time,
    rand() % 1000, 1
FROM series WHERE (last_seen > fromUnixTimestamp({now:UInt32})) = ({kind:String} = 'live')
"""


def fill(folder: Path, now: int, live: int, dead: int) -> None:
    """Make a data folder with so many series; in a process of its own, since one keeps one folder."""
    engine = EmbeddedEngine(folder)
    store = Store(engine)
    store.migrate()
    for kind, count, each in (("dead", dead, 2), ("live", live, 480)):
        engine.execute(_SERIES, {"kind": kind, "count": count, "now": now})
        engine.execute(_SAMPLES, {"kind": kind, "each": each, "now": now})
    for table in engine.query("SELECT name FROM system.tables WHERE name IN ('series', 'recent_series')").column(
        "name"
    ):
        engine.execute(f"OPTIMIZE TABLE {table.as_py()} FINAL")
    store.close()


def questions(now: int, number: int) -> dict[str, tuple[str, dict[str, object]]]:
    """Paths and parameters by what they are; of each number other ones."""
    hour = {"start": now - 3600, "end": now}
    which = f'pods{{pod!="none-{number}"}}'
    return {
        "instant": ("query", {"query": f"sum({which})", "time": now}),
        "range of 1 h": ("query_range", {"query": f"sum({which})", "step": 60, **hour}),
        "series": ("series", {"match[]": which, **hour}),
        "label values": ("label/pod/values", hour),
        "label values of a selector": ("label/pod/values", {"match[]": which, **hour}),
        "label names": ("labels", hour),
        "metric names": ("label/__name__/values", hour),
    }


def ask(server: Server, path: str, parameters: dict[str, object]) -> tuple[float, int]:
    """How long an answer took, in seconds, and its length."""
    url = f"{server.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    start = time.perf_counter()
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  http, our own
        body = answer.read()
    return time.perf_counter() - start, len(json.loads(body)["data"])


def compare(servers: dict[str, Server], now: int, rounds: int) -> None:
    """Ask both in turn and print the medians."""
    seconds: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds + 1):
        for name, (path, parameters) in questions(now, number).items():
            answers = {who: ask(server, path, parameters) for who, server in servers.items()}
            if len({length for _, length in answers.values()}) != 1:
                raise AssertionError(f"{name}: not the same answers")
            if number:  # the first warms up
                for who, (took, _) in answers.items():
                    seconds.setdefault(name, {}).setdefault(who, []).append(took)
    print(f"{'':28}{'without, ms':>12}{'with, ms':>12}{'ratio':>8}{'target':>8}")
    for name, by_server in seconds.items():
        without, dead = (statistics.median(by_server[who]) * 1000 for who in servers)
        print(f"{name:28}{without:12.1f}{dead:12.1f}{dead / without:8.2f}{TARGET_RATIO:8.2f}")


def main() -> None:
    """Fill two folders, start two servers, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", type=int, default=1000)
    parser.add_argument("--dead", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--fill", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fill:
        fill(Path(arguments.fill[0]), int(arguments.fill[1]), arguments.live, arguments.dead)
        return
    now = int(time.time())
    folder = Path(tempfile.mkdtemp(prefix="watchkeeper-churn-"))
    try:
        with ExitStack() as stack:
            servers = {}
            for who, dead in (("without", 0), ("with", arguments.dead)):
                data = folder / who / "data"
                data.parent.mkdir()
                command = [sys.executable, __file__, "--live", str(arguments.live), "--dead", str(dead)]
                subprocess.run([*command, "--fill", str(data), str(now)], check=True)
                servers[who] = Server(data)
                stack.callback(servers[who].stop)
            compare(servers, now, arguments.rounds)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
