"""The series that the comparison of metrics sends: made alike for whoever asks, so that every system gets the same.

A set's values come a block at a time, in the order of time: all of a shard's series, some steps each.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Labels = Mapping[str, str]
Block = np.ndarray[Any, np.dtype[np.float64]]

# Samples lie so long after the steps that dashboards ask for: none is on the edge of a window, where Prometheus 2 and 3
# differ.
OFFSET_SECONDS = 7
BUCKETS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf")
# A core's seconds by mode.
_MODES = {
    "idle": 0.8, "iowait": 0.01, "irq": 0.0, "nice": 0.0, "softirq": 0.01, "steal": 0.0, "system": 0.06, "user": 0.12,
}  # fmt: skip
# Metrics of a kind, how many, by which label, how many of those; and what they are, in turn.
_COLLECTORS = (
    ("node_network_figure_{}_total", 20, "device", 10, ("constant", "counter", "counter")),
    ("node_disk_figure_{}_total", 15, "device", 8, ("counter",)),
    ("node_filesystem_figure_{}_bytes", 7, "mountpoint", 20, ("constant", "gauge")),
    ("node_memory_Figure{}_bytes", 50, "source", 1, ("gauge",)),
    ("node_netstat_Figure{}", 150, "source", 1, ("counter", "gauge")),
    ("node_systemd_unit_state", 1, "unit", 212, ("constant",)),
)


@dataclass(frozen=True)
class Motion:
    """How a series' values go: up by about `drift` a step, to and fro by about `scale`, in parts of `1/parts`."""

    drift: float = 0.0
    scale: float = 0.0
    base: float = 0.0
    parts: float = 1.0


@dataclass(frozen=True)
class MetricSet:
    """Series of one kind, from `end - steps * step_seconds` on; `cumulative` adds each series to the next of ten."""

    name: str
    series: Sequence[tuple[Labels, Motion]]
    steps: int
    step_seconds: int = 15
    series_a_request: int = 500
    steps_a_request: int = 20
    cumulative: bool = False

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.series) * self.steps


class Shard:
    """Those series of a set that go into the same requests: their values and times, block after block."""

    def __init__(self, of: MetricSet, start: int, end_ms: int) -> None:
        """Begin at the set's beginning; `end_ms` is the whole data's end."""
        series = of.series[start : start + of.series_a_request]
        self.labels = [labels for labels, _ in series]
        self.steps, self.steps_a_request = of.steps, of.steps_a_request
        self.step_ms = of.step_seconds * 1000
        self.next_ms = end_ms - of.steps * self.step_ms + OFFSET_SECONDS * 1000
        self.last_ms = self.next_ms + (of.steps - 1) * self.step_ms
        motions = [motion for _, motion in series]
        self._drift, self._scale, self._level, self._parts = (
            np.array([getattr(motion, name) for motion in motions])[:, None]
            for name in ("drift", "scale", "base", "parts")
        )
        self._cumulative = of.cumulative
        self._chance = np.random.default_rng([zlib.crc32(of.name.encode()), start])

    def block(self, steps: int) -> tuple[Block, np.ndarray[Any, np.dtype[np.int64]]]:
        """The next so many values of each series, and their times."""
        shape = len(self.labels), steps
        moved = self._drift * (self._chance.random(shape) + 0.5) + self._scale * self._chance.standard_normal(shape)
        levels = self._level + np.cumsum(moved, axis=1)
        self._level = levels[:, -1:]
        values = np.floor(np.abs(levels) * self._parts) / self._parts
        if self._cumulative:
            values = values.reshape(-1, len(BUCKETS), steps).cumsum(axis=1).reshape(shape)
        times = self.next_ms + self.step_ms * np.arange(steps, dtype=np.int64)
        self.next_ms += self.step_ms * steps
        return values, times


def ingest_sets(*, quick: bool) -> list[MetricSet]:
    """10,000 series of ten machines in requests of 2,000, a sample each: 10 million samples, or `quick` one."""
    series = [one for machine in range(10) for one in _machine(machine)]
    return [MetricSet("fleet", series, 100 if quick else 1000, series_a_request=2_000, steps_a_request=1)]


def query_sets(*, quick: bool) -> list[MetricSet]:
    """What is asked for: an hour of 1 to 10,000 series.

    If not `quick`, also 42 hours of 1,000, which are ten million samples, and 30 days of 100.
    """
    sets = [MetricSet(f"counter_{n}", list(_counters(f"counter_{n}", n)), 240) for n in (1, 100, 1_000)]
    sets += [MetricSet("gauge_1000", list(_gauges("gauge_1000", 1_000)), 240)]
    sets += [MetricSet("latency_bucket", list(_histograms("latency_bucket", 100)), 240, cumulative=True)]
    if not quick:
        sets += [MetricSet("counter_10000", list(_counters("counter_10000", 10_000)), 240)]
        sets += [MetricSet("days", list(_counters("days", 1_000)), 10_000)]
        sets += [MetricSet("month", list(_counters("month", 100)), 30 * 24 * 60, step_seconds=60)]
    return sets


def _machine(number: int) -> Iterator[tuple[Labels, Motion]]:
    """1,000 series as node_exporter's: four in ten counters, a quarter gauges, the rest never change."""
    shared = {
        "cluster": "eu-1", "datacenter": "fra", "environment": "production", "instance": f"node-{number:02d}:9100",
        "job": "node", "rack": f"r{number % 4}", "team": "platform",
    }  # fmt: skip
    chance = np.random.default_rng(number)
    for cpu in range(16):
        for mode, share in _MODES.items():
            labels = {"__name__": "node_cpu_seconds_total", "cpu": str(cpu), "mode": mode}
            yield shared | labels, Motion(drift=15 * share, base=share * 1e6, parts=100)
    for metric, figures, label, values, kinds in _COLLECTORS:
        for i in range(values):
            for figure in range(figures):
                labels = {"__name__": metric.format(figure), label: f"{label}-{i}"}
                yield shared | labels, _motion(kinds[figure % len(kinds)], chance)


def _motion(kind: str, chance: np.random.Generator) -> Motion:
    if kind == "counter":
        return Motion(drift=15 * 10 ** chance.uniform(-1, 5), base=float(chance.integers(0, 10**9)))
    if kind == "gauge":
        return Motion(scale=10 ** chance.uniform(4, 7), base=float(chance.integers(0, 10**10)), parts=1 / 4096)
    return Motion(base=np.floor(10 ** chance.uniform(0, 12)))


def _service(metric: str, i: int, instances_of: int) -> dict[str, str]:
    instance = i // instances_of
    return {
        "__name__": metric, "cluster": "eu-1", "environment": "production", "instance": f"node-{instance:03d}:8080",
        "pod": f"shop-{instance:03d}", "team": "shop",
    }  # fmt: skip


def _counters(metric: str, series: int) -> Iterator[tuple[Labels, Motion]]:
    """Requests by ten jobs, five codes and two methods, 100 series an instance; rates differ widely.

    None is young: near zero, Prometheus 2 and 3 extrapolate differently.
    """
    chance = np.random.default_rng(series)
    for i in range(series):
        labels = _service(metric, i, 100) | {
            "code": ("200", "201", "404", "500", "503")[i % 5],
            "job": f"job-{i // 5 % 10}",
            "method": ("GET", "POST")[i // 50 % 2],
            "route": f"/api/{i % 7}",
        }
        drift = 15 * 10 ** chance.uniform(-1, 4)
        yield labels, Motion(drift=drift, base=drift * 1e5)


def _gauges(metric: str, series: int) -> Iterator[tuple[Labels, Motion]]:
    for i in range(series):
        labels = _service(metric, i, 100) | {"job": f"job-{i % 10}", "queue": f"queue-{i % 100}"}
        yield labels, Motion(scale=3.0, base=1_000.0 + i, parts=10)


def _histograms(metric: str, histograms: int) -> Iterator[tuple[Labels, Motion]]:
    """As many histograms, whose ten buckets are not yet added up."""
    for i in range(histograms):
        for b, bound in enumerate(BUCKETS):
            labels = _service(metric, i, 10) | {"job": f"job-{i % 10}", "le": bound}
            drift = 15.0 * (1 + i % 7) * (b + 1) * (len(BUCKETS) - b)
            yield labels, Motion(drift=drift, base=drift * 1e5)
