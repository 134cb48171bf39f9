"""Series in memory, for what is evaluated over a `Reader`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from watchkeeper_server.promql.errors import TooManySamplesError
from watchkeeper_server.promql.matchers import matches
from watchkeeper_server.promql.tree import Matcher
from watchkeeper_server.promql.values import METRIC_NAME, Labels, Matrix, Result, Samples

_LABEL = re.compile(r'([^\s{},="]+)\s*=\s*"([^"]*)"')


def labels(text: str) -> dict[str, str]:
    """`name{a="1",b="2"}` as labels; values without escapes."""
    name, _, rest = text.partition("{")
    named = {METRIC_NAME: name.strip()} if name.strip() else {}
    return named | dict(_LABEL.findall(rest))


def samples(
    series: Mapping[str, Iterable[tuple[int, float]]] | Sequence[tuple[Labels, Iterable[tuple[int, float]]]],
) -> Samples:
    """Series of floats: `{'name{a="1"}': [(t_ms, value), …]}`, or pairs of labels and samples."""
    pairs = (
        [(labels(text), list(points)) for text, points in series.items()]
        if isinstance(series, Mapping)
        else [(of, list(points)) for of, points in series]
    )
    flat = [point for _, points in pairs for point in points]
    return Samples(
        [of for of, _ in pairs],
        np.cumsum([0, *(len(points) for _, points in pairs)], dtype=np.int64),
        np.array([time for time, _ in flat], np.int64),
        np.array([value for _, value in flat], np.float64),
    )


def key(text: str) -> frozenset[tuple[str, str]]:
    """Labels as a set, so that they can be compared and looked up."""
    return frozenset(labels(text).items())


def told(result: Result) -> dict[frozenset[tuple[str, str]], float]:
    """An instant query's vector of floats: the values by the labels' `key`, in the vector's order."""
    assert isinstance(result.value, Matrix)
    keys = [frozenset(of.items()) for of in result.value.labels]
    return dict(zip(keys, result.value.values[:, 0].tolist(), strict=True))


class MemoryReader:
    """A `Reader` of what it is given; `asked` are the calls, as matchers, start and end."""

    def __init__(
        self,
        series: Samples
        | Mapping[str, Iterable[tuple[int, float]]]
        | Sequence[tuple[Labels, Iterable[tuple[int, float]]]],
    ) -> None:
        self.samples = series if isinstance(series, Samples) else samples(series)
        self.asked: list[tuple[tuple[Matcher, ...], int, int]] = []

    def grid(self, *_: object) -> None:
        """Never cheaper here."""

    def select(self, matchers: Sequence[Matcher], start: int, end: int, most: int) -> Samples:
        """As `Reader` says; the samples' histograms are passed on whole."""
        self.asked.append((tuple(matchers), start, end))
        held = self.samples
        spans = []
        for index, of in enumerate(held.labels):
            if all(matches(matcher, of.get(matcher.name, "")) for matcher in matchers):
                first, last = held.offsets[index], held.offsets[index + 1]
                low, high = first + np.searchsorted(held.times[first:last], [start, end], "right")
                if high > low:
                    spans.append((of, slice(int(low), int(high))))
        if sum(part.stop - part.start for _, part in spans) > most:
            raise TooManySamplesError
        offsets = np.cumsum([0, *(part.stop - part.start for _, part in spans)], dtype=np.int64)
        rows = np.concatenate([np.arange(0), *(np.arange(part.start, part.stop) for _, part in spans)])
        return Samples(
            [of for of, _ in spans],
            offsets,
            held.times[rows],
            held.values[rows],
            None if held.histogram_of is None else held.histogram_of[rows],
            held.histograms,
        )
