"""Which series match: asked of the store once, then remembered until one that matches too is stored, or any deleted.

Labels cost more to fetch than a dashboard's samples, and hardly ever change: so what was found for a selector is kept.
The store says when series were written, which happens all the time, since each is dated every ten minutes: then what
was written is read, and only what it adds to is forgotten. That is one of the store's own questions and waits for no
reader: an answer out of memory takes no longer because others are busy.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import orjson
import pyarrow as pa

from watchkeeper_server.model.errors import StoreBusyError, StoreTimeoutError
from watchkeeper_server.model.patience import left_seconds
from watchkeeper_server.model.times import LATEST_NS, NANOSECONDS
from watchkeeper_server.promql.errors import QueryTimeoutError, TooManySeriesError
from watchkeeper_server.promql.matchers import matches
from watchkeeper_server.promql.tree import Matcher, MatchOp
from watchkeeper_server.promql.values import METRIC_NAME, Labels
from watchkeeper_server.query.label_conditions import LabelConditions
from watchkeeper_server.query.reader import Read

# The store dates a series in steps of this: see schema 0004.
_STEP_SECONDS = 600
_LATEST_SECONDS = LATEST_NS // NANOSECONDS
_MOST_KEPT = 200_000
# A selector of more is asked for anew: each is compared with each series that is written.
_MOST_MATCHERS_KEPT = 100
# Past so many series written, or so many comparisons with what is kept, everything is asked for anew.
_MOST_NEW, _MOST_COMPARED = 20_000, 1_000_000
# how long a question waits for another that asks what is new
_PATIENCE_SECONDS = 15

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


class Version(NamedTuple):
    """Says whether rows have been stored, by the newest block of their table, or deleted, by how often."""

    deletions: int
    newest_block: int

    def is_ahead_of(self, other: Version) -> bool:
        """Whether there is something new since."""
        return self.deletions > other.deletions or self.newest_block > other.newest_block

    def and_of(self, other: Version) -> Version:
        """What is known by who knows both."""
        return Version(max(self.deletions, other.deletions), max(self.newest_block, other.newest_block))


class SeriesIndex:
    """Reads series."""

    def __init__(
        self,
        read: Read,
        read_own: Read,
        version: Callable[[], Version],
        histograms_version: Callable[[], Version],
        most: int = 500_000,
    ) -> None:
        """Nothing is known yet.

        Args:
            read: runs the store's named statements.
            read_own: the same, waiting for no reader.
            version: whether series were stored or deleted.
            histograms_version: whether native histograms were.
            most: how many series a selector may select.
        """
        self._read = read
        self._read_own = read_own
        self._most = most
        self._version = version
        self._lock = threading.Lock()
        self._catching_up = threading.Lock()
        self._kept: OrderedDict[Key, Series] = OrderedDict()
        self._kept_version = Version(0, 0)
        self._kept_weight = 0
        self._histograms_version = histograms_version
        self._learning = threading.Lock()
        self._histograms: frozenset[str] = frozenset()
        self._histograms_known: Version | None = None

    def find(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Series:
        """The series that match all and may have samples in the range; both ends belong to it.

        Raises:
            TooManySeriesError: they are more than a selector may select.
            StoreBusyError: it takes too long to tell.
        """
        start, end = steps_around(start_ms, end_ms)
        key = (tuple(matchers), start, end)
        version = self._version()
        if version.is_ahead_of(self._kept_version):
            with _in_turn(self._catching_up):
                self._catch_up(version)
        with self._lock:
            if found := self._kept.get(key):
                self._kept.move_to_end(key)
                return found
        found = self._find(matchers, start, end)
        with self._lock:
            if version == self._kept_version and key not in self._kept:
                self._keep(key, found)
        return found

    def have_histograms(self, metrics: Iterable[str]) -> bool:
        """Whether any of the metrics has native histograms, or had some.

        Raises:
            StoreBusyError: it takes too long to tell.
        """
        version = self._histograms_version()
        if self._histograms_known is None or version.is_ahead_of(self._histograms_known):
            with _in_turn(self._learning):
                self._learn_histograms(version)
        return not self._histograms.isdisjoint(metrics)

    def metric_names(self, start_ms: int, end_ms: int) -> list[str]:
        """The names of the metrics that may have samples in the range, unordered."""
        start, end = steps_around(start_ms, end_ms)
        names: list[str] = self._read("read_metric_names", {"start": start, "end": end}).column("metric").to_pylist()
        return names

    def _learn_histograms(self, version: Version) -> None:
        known = self._histograms_known
        if known is None:  # all there are: loading, which waits for the store's own questions, is not to wait for this
            table = self._read("read_histogram_metrics", {"after": 0})
        elif version.is_ahead_of(known):  # still, after others had their turn
            table = self._read_own("read_histogram_metrics", {"after": known.newest_block})
        else:
            return
        self._histograms |= set(table.column("metric").to_pylist())
        self._histograms_known = version if known is None else version.and_of(known)

    def _catch_up(self, version: Version) -> None:
        """Forget what may have changed."""
        known = self._kept_version
        if not version.is_ahead_of(known):  # any more, after others had their turn
            return
        new = None
        if self._kept and version.deletions <= known.deletions:
            parameters = {"after": known.newest_block, "limit": _MOST_NEW + 1}
            new = _NewSeries(self._read_own("read_new_series", parameters))
        with self._lock:
            if new is None or len(new) > _MOST_NEW or len(new) * len(self._kept) > _MOST_COMPARED:
                self._forget(list(self._kept))
            else:
                self._forget([key for key, found in self._kept.items() if new.add_to(key, found)])
            self._kept_version = version.and_of(known)

    def _forget(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self._kept_weight -= _weight(key, self._kept.pop(key))

    def _keep(self, key: Key, found: Series) -> None:
        if _weight(key, found) > _MOST_KEPT or len(key[0]) > _MOST_MATCHERS_KEPT:
            return
        self._kept[key] = found
        self._kept_weight += _weight(key, found)
        while self._kept_weight > _MOST_KEPT:
            self._kept_weight -= _weight(*self._kept.popitem(last=False))

    def _find(self, matchers: Sequence[Matcher], start: int, end: int) -> Series:
        named = [matcher for matcher in matchers if matcher.name == METRIC_NAME]
        others = [matcher for matcher in matchers if matcher.name != METRIC_NAME]
        metrics = self._metrics(named, start, end)
        conditions = LabelConditions(others)
        if (metrics is not None and not metrics) or conditions.none:
            return Series([], np.zeros(0, np.uint64), [], whole=True)
        parameters = {"start": start, "end": end, "metrics": metrics, "limit": self._most + 1}
        table = self._read("read_selected_series", parameters | conditions.parameters)
        if table.num_rows > self._most:
            raise TooManySeriesError(self._most)
        table = table.take(np.argsort(table.column("id").to_numpy()))
        names = table.column("metric").to_pylist()
        labels: list[Any] = orjson.loads(f"[{','.join(table.column('label_texts').to_pylist())}]")
        for name, one in zip(names, labels, strict=True):
            one[METRIC_NAME] = name
        ids: Ids = table.column("id").to_numpy()
        names, labels, ids = _taken(names, labels, ids, conditions.places(labels))
        for matcher in conditions.regexes:
            if left_seconds() <= 0:
                raise QueryTimeoutError("query timed out in expression evaluation")
            test = _test(matcher)
            kept = [i for i, one in enumerate(labels) if test(one.get(matcher.name, ""))]
            names, labels, ids = _taken(names, labels, ids, kept)
        return Series(sorted(set(names)), ids, labels, whole=not others)

    def _metrics(self, named: Sequence[Matcher], start: int, end: int) -> list[str] | None:
        """The names that match, or None if nothing is asked of the name."""
        if not named:
            return None
        exact = [matcher.value for matcher in named if matcher.op is MatchOp.EQUAL]
        names = exact[:1] or self.metric_names(start * 1000, end * 1000)
        unequal = {matcher.value for matcher in named if matcher.op is MatchOp.NOT_EQUAL}
        names = [name for name in names if name not in unequal]
        tests = [_test(matcher) for matcher in named if matcher.op is not MatchOp.NOT_EQUAL]
        return [name for name in names if all(test(name) for test in tests)]


@contextmanager
def _in_turn(turn: threading.Lock) -> Iterator[None]:
    """One at a time asks what is new, the others wait until it is known."""
    left = left_seconds()
    if not turn.acquire(timeout=max(0.0, min(left, _PATIENCE_SECONDS))):
        if left <= _PATIENCE_SECONDS:
            raise StoreTimeoutError("the store takes longer to say which series are new than there is time left")
        raise StoreBusyError("the store takes long to say which series are new; ask again in a while")
    try:
        yield
    finally:
        turn.release()


def _taken(names: list[str], labels: list[Any], ids: Ids, places: list[int]) -> tuple[list[str], list[Any], Ids]:
    if len(places) == len(labels):
        return names, labels, ids
    return [names[i] for i in places], [labels[i] for i in places], ids[places]


class _NewSeries:
    """Series written since something was found."""

    def __init__(self, table: pa.Table) -> None:
        """Rows of `read_new_series`."""
        self._ids: Ids = table.column("id").to_numpy()
        self._first, self._last = (table.column(name).to_numpy() for name in ("first", "last"))
        self._metrics = table.column("metric").to_pylist()
        self._texts = table.column("label_texts")
        self._taken_apart: dict[int, Labels] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add_to(self, key: Key, found: Series) -> bool:
        """Whether any would have been found too."""
        matchers, start, end = key
        in_range = (self._last >= start) & (self._first <= end)
        new = in_range & ~np.isin(self._ids, found.ids)
        tests = [(matcher.name, _test(matcher)) for matcher in sorted(matchers, key=_name_first)]
        return any(self._passes(place, tests) for place in np.flatnonzero(new).tolist())

    def _passes(self, place: int, tests: Sequence[tuple[str, Callable[[str], bool]]]) -> bool:
        return all(
            test(self._metrics[place] if name == METRIC_NAME else self._labels(place).get(name, ""))
            for name, test in tests
        )

    def _labels(self, place: int) -> Labels:
        if place not in self._taken_apart:
            self._taken_apart[place] = orjson.loads(self._texts[place].as_py())
        return self._taken_apart[place]


def _name_first(matcher: Matcher) -> bool:
    """A key to sort by: a metric's name is compared sooner than labels are taken apart."""
    return matcher.name != METRIC_NAME


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
