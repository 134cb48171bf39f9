"""Series as a small system has them, drawn by seed: counters that start again, gauges with gaps, odd numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate, product
from random import Random

from support.promqltest.series import Series
from watchkeeper_server.promql.values import METRIC_NAME, STALE

SECOND = 1000
# A multiple of a day; far enough back for any server.
START = 1_699_920_000 * SECOND
LENGTH = 7200 * SECOND
LE = ("0.05", "0.1", "0.5", "1", "5", "+Inf")


def random_data(seed: int) -> list[Series]:
    """Some 70 series over two hours from `START` on. No sample is of a whole second: windows begin at none."""
    draw = Random(seed)
    return [series for family in _FAMILIES for series in family(draw)]


def _series(
    draw: Random, name: str, values: Iterator[float | None], labels: dict[str, str], interval: int = 15
) -> Series:
    """Samples at an interval of seconds, each a little late by its own."""
    times = (START + step * SECOND * interval for step in range(LENGTH // (interval * SECOND)))
    return Series(
        {METRIC_NAME: name, **labels},
        tuple(
            (time + draw.randrange(1, 400), value)
            for time, value in zip(times, values, strict=False)
            if value is not None
        ),
    )


def _counters(draw: Random) -> Iterator[Series]:
    for job, instance, code in product(("api", "web"), ("a", "b"), ("200", "404", "500")):
        restarts = draw.random() < 0.5
        pace = draw.uniform(0, 20)

        def counted(restarts: bool = restarts, pace: float = pace) -> Iterator[float | None]:
            total = draw.uniform(1e3, 1e6)
            while True:
                total = draw.uniform(0, 30) if restarts and draw.random() < 0.01 else total + draw.expovariate(1) * pace
                yield total

        yield _series(draw, "requests_total", counted(), {"job": job, "instance": instance, "code": code})


def _gauges(draw: Random) -> Iterator[Series]:
    for room, floor in (("hall", "0"), ("kitchen", "0"), ("office", "1"), ("server", "1"), ("attic", "2")):

        def wandering() -> Iterator[float | None]:
            value, gap = draw.uniform(-10, 30), 0
            while True:
                value += draw.gauss(0, 1)
                gap = gap - 1 if gap else draw.randrange(4, 60) if draw.random() < 0.01 else 0
                yield None if gap else value

        yield _series(draw, "temperature", wandering(), {"room": room, "floor": floor})
    for room, job in product(("hall", "office"), ("api", "web")):
        steps = (float(draw.randrange(5)) for _ in iter(int, 1))
        yield _series(draw, "queue_length", steps, {"room": room, "job": job}, interval=30)


def _odd(draw: Random) -> Iterator[Series]:
    choices = {
        "nan": [math.nan, 1.5, -2.5],
        "inf": [math.inf, 3.0, 4.0],
        "both": [math.inf, -math.inf, math.nan, 0.0],
        "zero": [0.0, -0.0, 1.0],
        "tiny": [1e-300, 2e-300],
        "constant": [42.0],
    }
    for kind, values in choices.items():
        yield _series(draw, "odd", (draw.choice(values) for _ in iter(int, 1)), {"kind": kind}, interval=30)


def _short_lived(draw: Random) -> Iterator[Series]:
    for run in range(6):
        first, length = draw.randrange(300), draw.randrange(10, 200)

        def living(
            first: int = first, length: int = length, base: float = draw.uniform(100, 200)
        ) -> Iterator[float | None]:
            yield from [None] * first
            yield from accumulate([base] + [draw.uniform(0.1, 2) for _ in range(length)])
            yield STALE
            while True:
                yield None

        yield _series(draw, "job_progress", living(), {"run": str(run), "job": draw.choice(("api", "web"))})


def _sparse(draw: Random) -> Iterator[Series]:
    for disk in ("sda", "sdb"):
        sizes = (draw.uniform(1e9, 2e9) if draw.random() < 0.7 else None for _ in iter(int, 1))
        yield _series(draw, "disk_free_bytes", sizes, {"disk": disk}, interval=210)


def _histograms(draw: Random) -> Iterator[Series]:
    for job, instance in product(("api", "web"), ("a", "b")):
        pace = [draw.uniform(0, 5) for _ in LE]
        start = [draw.randrange(1000, 100_000) for _ in LE]
        labels = {"job": job, "instance": instance}
        rows = list(_grown(draw, start, pace))
        for place, le in enumerate(LE):
            cumulative = iter([float(sum(row[: place + 1])) for row in rows])
            yield _series(draw, "duration_seconds_bucket", cumulative, labels | {"le": le})
        yield _series(draw, "duration_seconds_count", iter([float(sum(row)) for row in rows]), labels)
        yield _series(draw, "duration_seconds_sum", iter([sum(row) * 0.3 for row in rows]), labels)


def _grown(draw: Random, start: list[int], pace: list[float]) -> Iterator[list[int]]:
    counts = start
    for _ in range(LENGTH // (15 * SECOND)):
        counts = [count + round(draw.expovariate(1) * speed) for count, speed in zip(counts, pace, strict=True)]
        yield counts


def _information(draw: Random) -> Iterator[Series]:
    for job, version in (("api", "1.2.3"), ("web", "2.0.0")):
        yield _series(draw, "build_info", (1.0 for _ in iter(int, 1)), {"job": job, "version": version})


_FAMILIES = (_counters, _gauges, _odd, _short_lived, _sparse, _histograms, _information)
