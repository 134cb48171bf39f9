"""What dashboards and rules ask of metrics, how long a system takes to answer, and whether two answers agree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from peers import Asked

REPEATS = 7
# A dashboard asks again so often.
REFRESH_SECONDS = 60
HOUR, DAY = 3_600, 86_400

Series = dict[frozenset[tuple[str, str]], np.ndarray[Any, np.dtype[np.float64]]]


@dataclass(frozen=True)
class Question:
    """A query over some series; `steps` 0 is an instant query, else a range query of the last `seconds`."""

    title: str
    promql: str
    series: int
    seconds: int = HOUR
    steps: int = 0

    @property
    def kind(self) -> str:
        """How it is asked."""
        return f"{self.steps} steps" if self.steps else "instant"


@dataclass(frozen=True)
class Answer:
    """What a system answered last, and the median of its times."""

    body: bytes
    milliseconds: float


def questions(*, quick: bool) -> Iterator[Question]:
    """All of them, over the sets of `metric_sets.query_sets`."""
    for n in (1, 100, 1_000) if quick else (1, 100, 1_000, 10_000):
        metric = f"counter_{n}"
        for steps in (0, 60, 240) if n < 10_000 else (0, 60):  # nobody draws 10,000 lines, and 240 steps are 50 MB
            yield Question("x", metric, n, steps=steps)
            yield Question("rate(x[5m])", f"rate({metric}[5m])", n, steps=steps)
        for steps in (0, 60, 240):
            yield Question("sum by (job) (rate(x[5m]))", f"sum by (job) (rate({metric}[5m]))", n, steps=steps)
    few = 'counter_1000{code=~"5..",instance=~"node-00[0-4].*"}'
    for steps in (0, 60, 240):
        quantile = "histogram_quantile(0.9, sum by (job, le) (rate(latency_bucket[5m])))"
        yield Question("histogram_quantile of 100 histograms", quantile, 1_000, steps=steps)
        yield Question("max_over_time(gauge[5m])", "max_over_time(gauge_1000[5m])", 1_000, steps=steps)
        yield Question("topk(5, rate(x[5m]))", "topk(5, rate(counter_1000[5m]))", 1_000, steps=steps)
        yield Question("sum(rate(x{regular expressions}[5m]))", f"sum(rate({few}[5m]))", 200, steps=steps)
    errors = 'sum by (job) (rate(counter_1000{code=~"5.."}[5m])) / sum by (job) (rate(counter_1000[5m])) > 0.01'
    yield Question("a rule: share of errors by job > 0.01", errors, 1_000)
    if not quick:
        for steps in (60, 240):
            yield Question("sum by (job) (rate(x[5m])), a day", "sum by (job) (rate(day[5m]))", 1_000, DAY, steps)
            yield Question("rate(x[1h]), 30 days", "rate(month[1h])", 100, 30 * DAY, steps)
            yield Question(
                "sum by (job) (rate(x[1h])), 30 days", "sum by (job) (rate(month[1h]))", 100, 30 * DAY, steps
            )
        yield Question("max_over_time(x[6h]), 30 days", "max_over_time(month[6h])", 100, 30 * DAY, 120)


def ask(asked: Asked, question: Question, end_ms: int, **more: str) -> Answer:
    """Ask as a dashboard that refreshes, each time a minute later, until the data's end; the first is not counted."""
    times = []
    body = b""
    for i in range(REPEATS + 1):
        end = end_ms // 1000 - (REPEATS - i) * REFRESH_SECONDS
        if question.steps:
            step = question.seconds // question.steps
            end = end // step * step
            path, when = "/api/v1/query_range", {"start": end - question.seconds + step, "end": end, "step": step}
        else:
            path, when = "/api/v1/query", {"time": end}
        start = time.perf_counter()
        body = asked.post(path, query=question.promql, **when, **more)
        times.append((time.perf_counter() - start) * 1000)
    return Answer(body, statistics.median(times[1:]))


def difference(one: Answer, other: Answer, tolerance: float) -> str:
    """How two answers differ, or the empty string.

    With a tolerance of a hundredth or more, series are compared by number and by the mean of all values:
    VictoriaMetrics means something slightly different by `rate`, and moves steps to where its cache has them.
    """
    series, others = _parsed(one.body), _parsed(other.body)
    if not series or not others or len(series) != len(others):
        return f"{len(series)} series, {len(others)}"
    if tolerance >= 0.01:
        mean, other_mean = (float(np.nanmean(np.concatenate(list(all_.values())))) for all_ in (series, others))
        apart = abs(mean - other_mean) / max(abs(mean), abs(other_mean), 1e-300)
        return f"means differ by {apart:.1%}" if apart > tolerance else ""
    for labels, points in series.items():
        if labels not in others:
            return f"only one has {dict(labels)}"
        if points.shape != others[labels].shape:
            return f"{len(points)} points, {len(others[labels])} of {dict(labels)}"
        if not np.allclose(points, others[labels], tolerance, 0, equal_nan=True):
            return f"values of {dict(labels)}"
    return ""


def _parsed(body: bytes) -> Series:
    """Points by labels, whose metric's name is left out: VictoriaMetrics keeps it where Prometheus does not."""
    answer: Series = {}
    for one in orjson.loads(body)["data"]["result"]:
        labels = frozenset((name, value) for name, value in one["metric"].items() if name != "__name__")
        points = one["values"] if "values" in one else [one["value"]]
        answer[labels] = np.array([float(value) for _, value in points])
    return answer
