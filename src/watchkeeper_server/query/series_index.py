"""Which series match: asked of the store once, then remembered until series are stored or deleted.

Labels cost more to fetch than a dashboard's samples, and hardly ever change: so what was found for a selector is kept,
for as long as the store says that nothing was added.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import orjson

from watchkeeper_server.model.times import LATEST_NS, NANOSECONDS
from watchkeeper_server.promql.matchers import matches
from watchkeeper_server.promql.tree import Matcher, MatchOp
from watchkeeper_server.promql.values import METRIC_NAME, Labels
from watchkeeper_server.query.reader import Read

# The store dates a series in steps of this: see schema 0004.
_STEP_SECONDS = 600
_LATEST_SECONDS = LATEST_NS // NANOSECONDS
_MOST_KEPT = 200_000
# Segments are numbered by the time they were begun, and stored nearly in that order.
_OVERLAP_NS = 600 * NANOSECONDS

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
# the matchers, and the range in seconds
Key: TypeAlias = tuple[tuple[Matcher, ...], int, int]


@dataclass(frozen=True, slots=True)
class Series:
    """Series by id, ascending; `whole` says that these are all series their metrics have in the range."""

    metrics: list[str]
    ids: Ids
    labels: list[Labels]
    whole: bool


class SeriesIndex:
    """Reads series."""

    def __init__(self, read: Read, version: Callable[[], int], histograms_version: Callable[[], int]) -> None:
        """The versions are other numbers whenever series, or native histograms, were stored or deleted."""
        self._read = read
        self._version = version
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Series] = OrderedDict()
        self._kept_version = 0
        self._kept_weight = 0
        self._histograms_version = histograms_version
        self._histograms: frozenset[str] = frozenset()
        self._histograms_seen, self._histograms_segment = -1, 0

    def find(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Series:
        """The series that match all and may have samples in the range; both ends belong to it."""
        start, end = steps_around(start_ms, end_ms)
        key = (tuple(matchers), start, end)
        version = self._version()
        with self._lock:
            if version != self._kept_version:
                self._kept.clear()
                self._kept_version, self._kept_weight = version, 0
            if found := self._kept.get(key):
                self._kept.move_to_end(key)
                return found
        found = self._find(matchers, start, end)
        with self._lock:
            if version == self._kept_version and key not in self._kept:
                self._keep(key, found)
        return found

    def have_histograms(self, metrics: Iterable[str]) -> bool:
        """Whether any of the metrics has native histograms."""
        version = self._histograms_version()
        if version != self._histograms_seen:
            table = self._read("read_histogram_metrics", {"after": max(0, self._histograms_segment - _OVERLAP_NS)})
            self._histograms |= set(table.column("metric").to_pylist())
            self._histograms_segment = max([self._histograms_segment, *table.column("newest").to_pylist()])
            self._histograms_seen = version
        return not self._histograms.isdisjoint(metrics)

    def metric_names(self, start_ms: int, end_ms: int) -> list[str]:
        """The names of the metrics that may have samples in the range, unordered."""
        start, end = steps_around(start_ms, end_ms)
        names: list[str] = self._read("read_metric_names", {"start": start, "end": end}).column("metric").to_pylist()
        return names

    def _keep(self, key: Key, found: Series) -> None:
        if _weight(key, found) > _MOST_KEPT:
            return
        self._kept[key] = found
        self._kept_weight += _weight(key, found)
        while self._kept_weight > _MOST_KEPT:
            self._kept_weight -= _weight(*self._kept.popitem(last=False))

    def _find(self, matchers: Sequence[Matcher], start: int, end: int) -> Series:
        named = [matcher for matcher in matchers if matcher.name == METRIC_NAME]
        others = [matcher for matcher in matchers if matcher.name != METRIC_NAME]
        metrics = self._metrics(named, start, end)
        if metrics is not None and not metrics:
            return Series([], np.zeros(0, np.uint64), [], whole=True)
        equal = [matcher for matcher in others if matcher.op is MatchOp.EQUAL]
        unequal = [matcher for matcher in others if matcher.op is MatchOp.NOT_EQUAL]
        table = self._read(
            "read_selected_series",
            {
                "start": start,
                "end": end,
                "metrics": metrics,
                "equal_names": [matcher.name for matcher in equal] or None,
                "equal_values": [matcher.value for matcher in equal] or None,
                "unequal_names": [matcher.name for matcher in unequal] or None,
                "unequal_values": [matcher.value for matcher in unequal] or None,
            },
        )
        names = table.column("metric").to_pylist()
        labels: list[Any] = orjson.loads(f"[{','.join(table.column('label_texts').to_pylist())}]")
        for name, one in zip(names, labels, strict=True):
            one[METRIC_NAME] = name
        ids: Ids = table.column("id").to_numpy()
        for matcher in others:
            if matcher.op in (MatchOp.REGEX, MatchOp.NOT_REGEX):
                test = _test(matcher)
                kept = [i for i, one in enumerate(labels) if test(one.get(matcher.name, ""))]
                names, labels, ids = [names[i] for i in kept], [labels[i] for i in kept], ids[kept]
        return Series(sorted(set(names)), ids, labels, whole=not others)

    def _metrics(self, named: Sequence[Matcher], start: int, end: int) -> list[str] | None:
        """The names that match, or None if nothing is asked of the name."""
        if not named:
            return None
        exact = [matcher.value for matcher in named if matcher.op is MatchOp.EQUAL]
        names = exact[:1] or self.metric_names(start * 1000, end * 1000)
        tests = [_test(matcher) for matcher in named]
        return [name for name in names if all(test(name) for test in tests)]


def _weight(key: Key, found: Series) -> int:
    """How much there is to remember, in series; a long matcher weighs as much as a few."""
    return 1 + len(found.labels) + sum(len(matcher.value) + len(matcher.name) for matcher in key[0]) // 100


def _test(matcher: Matcher) -> Callable[[str], bool]:
    """Whether a label's value matches; each value is looked at once."""
    return cache(lambda value: matches(matcher, value))


def steps_around(start_ms: int, end_ms: int) -> tuple[int, int]:
    """The range in seconds, widened to whole steps and cut to what can be stored."""
    start = max(0, start_ms // 1000 // _STEP_SECONDS * _STEP_SECONDS)
    end = min(_LATEST_SECONDS, -(-end_ms // 1000 // _STEP_SECONDS) * _STEP_SECONDS)
    return min(start, _LATEST_SECONDS), max(0, end)
