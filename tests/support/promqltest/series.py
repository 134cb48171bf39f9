"""Series as the test language writes them: labels, then values that may expand to many."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from support.promqltest.cursor import Cursor
from support.promqltest.histograms import Histogram, of_classic, plus, read_histogram
from watchkeeper_server.promql.values import METRIC_NAME, STALE, Labels

# None is no sample at that place.
Value: TypeAlias = float | Histogram | None
_TIMES = re.compile(r"x(\d+)")
_CLASSIC = re.compile(r"(.+)_(bucket|count|sum)")


@dataclass(frozen=True, slots=True)
class Series:
    """A series' samples, oldest first: Unix milliseconds and value."""

    labels: Labels
    samples: tuple[tuple[int, float | Histogram], ...]


def read_series(text: str) -> tuple[dict[str, str], list[Value]]:
    """`name{a="1"} 0+10x3 _ stale {{count:1}}` as labels and values.

    Raises:
        NotationError: it is not well written.
    """
    cursor = Cursor(text)
    labels = cursor.labels()
    values: list[Value] = []
    while not cursor.done:
        if not cursor.rest[0].isspace():
            raise cursor.wrong("a space between values")
        cursor.spaces()
        values += _item(cursor)
    return labels, values


def _item(cursor: Cursor) -> list[Value]:
    """One item, which may stand for many values."""
    if cursor.take("_"):
        return [None] * (_times(cursor) or 1)
    if cursor.take("stale"):
        return [STALE] * (1 + (_times(cursor) or 0))
    if cursor.rest.startswith("{{"):
        return _histograms(cursor)
    first = cursor.number()
    if not cursor.rest.startswith(("+", "-")):
        return [first] * (1 + (_times(cursor) or 0))
    step = cursor.number()
    values = [first]
    for _ in range(_needed_times(cursor)):
        values.append(values[-1] + step)  # as Prometheus does it, whose sums round at each step
    return list(values)


def _histograms(cursor: Cursor) -> list[Value]:
    first = read_histogram(cursor)
    sign = 1 if cursor.take("+") else -1 if cursor.take("-") else 0
    if not sign:
        return [first] * (1 + (_times(cursor) or 0))
    step = read_histogram(cursor)
    values = [first]
    for _ in range(_needed_times(cursor)):
        values.append(plus(values[-1], step, 1 if sign > 0 else -1))
    return list(values)


def _times(cursor: Cursor) -> int | None:
    found = cursor.match(_TIMES)
    return int(found[1]) if found else None


def _needed_times(cursor: Cursor) -> int:
    times = _times(cursor)
    if times is None:
        raise cursor.wrong("how often to repeat, such as x5,")
    return times


def at_times(values: Sequence[Value], step: int) -> tuple[tuple[int, float | Histogram], ...]:
    """The values from time 0 on, `step` milliseconds apart."""
    return tuple((place * step, value) for place, value in enumerate(values) if value is not None)


def merged(loaded: Iterable[Series]) -> tuple[Series, ...]:
    """One of each, sorted by labels and time; of two samples at one time the later loaded stays."""
    by_labels: dict[frozenset[tuple[str, str]], dict[int, float | Histogram]] = {}
    for series in loaded:
        by_labels.setdefault(frozenset(series.labels.items()), {}).update(series.samples)
    return tuple(
        Series(dict(labels), tuple(sorted(samples.items(), key=lambda sample: sample[0])))
        for labels, samples in sorted(
            ((sorted(labels), samples) for labels, samples in by_labels.items()), key=lambda one: one[0]
        )
    )


def with_custom_buckets(loaded: Sequence[Series]) -> list[Series]:
    """The native histograms with custom bounds that the classic ones among these come to.

    Raises:
        NotationError: one cannot be converted.
    """
    found: dict[tuple[tuple[str, str], ...], dict[int, _Classic]] = {}
    for series in loaded:
        name = _CLASSIC.fullmatch(series.labels.get(METRIC_NAME, ""))
        if not name:
            continue
        rest = {key: value for key, value in series.labels.items() if key != "le"} | {METRIC_NAME: name[1]}
        by_time = found.setdefault(tuple(sorted(rest.items())), {})
        for time, value in series.samples:
            if isinstance(value, Histogram) or math.isnan(value):
                continue
            at = by_time.setdefault(time, _Classic({}))
            if name[2] == "bucket":
                at.buckets[float(series.labels["le"])] = value
            elif name[2] == "count":
                at.count = value
            else:
                at.sum = value
    return [
        Series(
            dict(labels),
            tuple((time, of_classic(at.buckets, at.count, at.sum)) for time, at in sorted(by_time.items())),
        )
        for labels, by_time in found.items()
    ]


@dataclass(slots=True)
class _Classic:
    """A classic histogram at one time."""

    buckets: dict[float, float]
    count: float | None = None
    sum: float | None = None
