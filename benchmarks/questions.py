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
# how far 1,000 series with a sample in 15 seconds reach back, but for what refreshing needs
TEN_MILLION_SECONDS = 240 * 615

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
            yield Question("sum by (job) (rate(x[5m])), a day", "sum by (job) (rate(days[5m]))", 1_000, DAY, steps)
            yield Question("rate(x[1h]), 30 days", "rate(month[1h])", 100, 30 * DAY, steps)
            yield Question(
                "sum by (job) (rate(x[1h])), 30 days", "sum by (job) (rate(month[1h]))", 100, 30 * DAY, steps
            )
        yield Question("rate(x[10m]) of ten million samples", "rate(days[10m])", 1_000, TEN_MILLION_SECONDS, 240)
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


def difference(one: Answer, other: Answer) -> str:
    """How two answers of those who mean the same differ in series, times or values, or the empty string."""
    series, others = _parsed(one.body), _parsed(other.body)
    if not series or series.keys() != others.keys():
        return f"{len(series)} series, {len(others)}, {len(series.keys() & others.keys())} in both"
    for labels, points in series.items():
        if not np.array_equal(points[:, 0], others[labels][:, 0]):
            return f"times of {dict(labels)}"
        if not np.allclose(points[:, 1], others[labels][:, 1], 1e-9, 0, equal_nan=True):
            return f"values of {dict(labels)}"
    return ""


def rough_difference(one: Answer, other: Answer) -> str:
    """How two answers differ by more than a tenth in the number of series or 5 % in the mean of values, or nothing.

    VictoriaMetrics means something slightly different by `rate`, and moves steps to where its cache has them.
    """
    series, others = _parsed(one.body), _parsed(other.body)
    if not series or abs(len(series) - len(others)) > 0.1 * len(series):
        return f"{len(series)} series, {len(others)}"
    mean, other_mean = (float(np.nanmean(np.concatenate(list(all_.values()))[:, 1])) for all_ in (series, others))
    return "" if np.isclose(mean, other_mean, 0.05, 0) else f"means {mean:g}, {other_mean:g}"


def _parsed(body: bytes) -> Series:
    """Times and values by labels, without the metric's name, which VictoriaMetrics keeps where Prometheus does not."""
    answer: Series = {}
    for one in orjson.loads(body)["data"]["result"]:
        labels = frozenset((name, value) for name, value in one["metric"].items() if name != "__name__")
        points = one["values"] if "values" in one else [one["value"]]
        answer[labels] = np.array([(seconds, float(value)) for seconds, value in points])
    return answer
