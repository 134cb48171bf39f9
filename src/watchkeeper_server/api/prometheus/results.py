"""A query's result as JSON: no Python code runs once a sample, only once a series.

Times and values are written as whole columns; then Arrow lays the pieces of all points in their order, and what is said
of a series is a slice of that.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from watchkeeper_server.api.prometheus.texts import Texts, joined, time_texts, value_texts
from watchkeeper_server.model.tsdb import ExemplarSeries
from watchkeeper_server.promql.histograms import all_to_json
from watchkeeper_server.promql.numbers import plain
from watchkeeper_server.promql.values import (
    Bools,
    Floats,
    Histograms,
    Ints,
    Labels,
    Matrix,
    Result,
    Samples,
    Scalar,
    Text,
)

# Larger blocks fall out of the processor's cache, and the system is asked for their memory again and again.
_BLOCK_POINTS = 1 << 15

# What stands around a series' floats and histograms; of the last point only the beginning is written yet.
_FORMS = {
    "vector": ((b',"value":', b'"]'), (b',"histogram":', b"]")),
    "matrix": ((b',"values":[', b'"]]'), (b',"histograms":[', b"]]")),
}


@dataclass(frozen=True, slots=True)
class _Block:
    """Some series: the i-th has the points from `offsets[i]` to `offsets[i + 1]`, counted from the block's first.

    Point j is at time number `at[j]`: `times(at, quote)` are these as text, to be joined, each with the end of the
    point before and the beginning of its own. What a point is, `Samples` says.
    """

    labels: list[Labels]
    offsets: Ints
    times: Callable[[Ints, str], list[Texts]]
    at: Ints
    values: Floats
    histogram_of: Ints | None
    histograms: Histograms | None


def instant_json(result: Result, limit: int, stats: Mapping[str, Any] | None = None) -> tuple[bytes, bool]:
    """What an instant query is answered with, and whether series past the limit were left out; 0 is no limit."""
    match result.value:
        case Scalar(values):
            return _single("scalar", result.steps.start, plain(float(values[0])), stats), False
        case Text(text):
            return _single("string", result.steps.start, text, stats), False
        case Matrix() as vector:
            return _series("vector", _matrix_blocks(vector, result.steps.times), limit, stats)
        case samples:
            return _series("matrix", _samples_blocks(samples), limit, stats)


def range_json(result: Result, limit: int, stats: Mapping[str, Any] | None = None) -> tuple[bytes, bool]:
    """What a range query is answered with, and whether series past the limit were left out; 0 is no limit."""
    value = result.value
    if isinstance(value, Scalar):
        value = Matrix([{}], value.values[None, :], np.ones((1, len(value.values)), np.bool_))
    assert isinstance(value, Matrix)  # noqa: S101  the engine evaluates nothing else over a range
    return _series("matrix", _matrix_blocks(value, result.steps.times), limit, stats)


def exemplars_json(series: Sequence[ExemplarSeries]) -> list[dict[str, Any]]:
    """Exemplars, with their values and times written as those of samples are."""
    exemplars = [exemplar for each in series for exemplar in each["exemplars"]]
    values = value_texts(np.array([exemplar["value"] for exemplar in exemplars], np.float64))
    times = time_texts(np.array([exemplar["timestamp"] for exemplar in exemplars], np.int64))
    texts = zip(joined([values]).to_pylist(), map(orjson.Fragment, joined(times).to_pylist()), strict=True)
    return [
        {
            "seriesLabels": sorted_labels(each["seriesLabels"]),
            "exemplars": [
                {"labels": sorted_labels(exemplar["labels"]), "value": value, "timestamp": time}
                # the next series goes on where this one's texts end
                for exemplar, (value, time) in zip(each["exemplars"], texts, strict=False)
            ],
        }
        for each in series
    ]


def sorted_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """A set of labels, by name."""
    return dict(sorted(labels.items()))


def _single(kind: str, time: int, text: str, stats: Mapping[str, Any] | None) -> bytes:
    # unlike that of a series' point, this time has no trailing zeros
    point = [plain(time / 1000).encode(), b",", orjson.dumps(text)]
    return b"".join([_begin(kind), *point, _end(stats)])


def _begin(kind: str) -> bytes:
    return f'{{"resultType":"{kind}","result":['.encode()


def _end(stats: Mapping[str, Any] | None) -> bytes:
    return b"]}" if stats is None else b'],"stats":%b}' % orjson.dumps(stats)


def _matrix_blocks(matrix: Matrix, times: Ints) -> Iterator[_Block]:
    """What is present."""
    offsets = np.concatenate([[0], np.cumsum(np.count_nonzero(matrix.present, axis=1))])

    @cache
    def texts(quote: str) -> pa.Array:
        return joined(_time_texts(times, np.arange(len(times)), quote))

    for rows in _blocks(offsets):
        cells = np.flatnonzero(matrix.present[rows])
        yield _Block(
            matrix.labels[rows],
            offsets[rows.start : rows.stop + 1] - offsets[rows.start],
            lambda at, quote: [Texts(texts(quote), at)],
            cells % len(times),
            matrix.values[rows].reshape(-1)[cells],
            None if matrix.histogram_of is None else matrix.histogram_of[rows].reshape(-1)[cells],
            matrix.histograms,
        )


def _samples_blocks(samples: Samples) -> Iterator[_Block]:
    for rows in _blocks(samples.offsets):
        offsets = samples.offsets[rows.start : rows.stop + 1]
        part = slice(offsets[0], offsets[-1])
        yield _Block(
            samples.labels[rows],
            offsets - offsets[0],
            partial(_time_texts, samples.times[part]),
            np.arange(offsets[-1] - offsets[0]),
            samples.values[part],
            None if samples.histogram_of is None else samples.histogram_of[part],
            samples.histograms,
        )


def _blocks(offsets: Ints) -> Iterator[slice]:
    """All series, in blocks of so many points; a series with more of them is one by itself."""
    start, count = 0, len(offsets) - 1
    while start < count:
        last = int(np.searchsorted(offsets, offsets[start] + _BLOCK_POINTS, side="right")) - 1
        end = max(start + 1, last)
        yield slice(start, end)
        start = end


def _time_texts(times: Ints, at: Ints, quote: str) -> list[Texts]:
    return time_texts(times[at], f"{quote}],[", f",{quote}")


def _series(kind: str, blocks: Iterator[_Block], limit: int, stats: Mapping[str, Any] | None) -> tuple[bytes, bool]:
    written: list[bytes | memoryview] = [_begin(kind)]
    of_floats, of_histograms = _FORMS[kind]
    before, count, truncated = b'{"metric":', 0, False
    for labels, floats, histograms in chain.from_iterable(map(_written, blocks)):
        if not floats and not histograms:
            continue
        truncated = 0 < limit == count
        if truncated:
            break
        written += before, labels
        if floats:
            written += of_floats[0], floats, of_floats[1]
        if histograms:
            written += of_histograms[0], histograms, of_histograms[1]
        before, count = b'},{"metric":', count + 1
    # the answer may be large: it is put together at once
    return b"".join([*written, b"}" if count else b"", _end(stats)]), truncated


def _written(block: _Block) -> Iterator[tuple[bytes, bytes | memoryview, bytes | memoryview]]:
    """Each series' labels, floats and histograms."""
    return zip(_labels(block.labels), _floats(block), _histograms(block), strict=True)


def _labels(labels: Sequence[Labels]) -> list[bytes]:
    """Sets of labels, each by name. To call orjson for each would take ten times as long."""
    # there is no line's end in JSON
    end = orjson.Fragment(b"\n")
    lines = orjson.dumps([part for each in labels for part in (each, end)], option=orjson.OPT_SORT_KEYS)
    return lines.removeprefix(b"[").removesuffix(b",\n]").split(b",\n,") if labels else []


def _floats(block: _Block) -> Sequence[bytes | memoryview]:
    """Each series' floats, joined by commas."""
    offsets, at, values = block.offsets, block.at, block.values
    if block.histogram_of is not None:
        mask = block.histogram_of < 0
        offsets, at, values = _among(mask, offsets), at[mask], values[mask]
    return _points(block.times(at, '"'), value_texts(values), offsets, '"')


def _histograms(block: _Block) -> Sequence[bytes | memoryview]:
    """Each series' native histograms, joined by commas."""
    if block.histogram_of is None or block.histograms is None:
        return [b""] * len(block.labels)
    mask = block.histogram_of >= 0
    written = [*map(orjson.dumps, all_to_json(block.histograms, block.histogram_of[mask]))]
    texts = Texts(pa.array(written, pa.large_string()), np.arange(len(written)))
    return _points(block.times(block.at[mask], ""), texts, _among(mask, block.offsets), "")


def _among(mask: Bools, offsets: Ints) -> Ints:
    """Where each series' points begin among those that the mask marks."""
    return np.concatenate([[0], np.cumsum(mask)])[offsets]


def _points(times: list[Texts], texts: Texts, offsets: Ints, quote: str) -> list[memoryview]:
    """Pairs of time and text, those of a series joined by commas; the last is left open."""
    rows = joined([*times, texts])
    _, bounds, data = rows.buffers()
    bounds, text = np.frombuffer(bounds, np.int64)[offsets], memoryview(data)
    begins, ends = bounds[:-1] + len(f"{quote}],"), bounds[1:]
    return [text[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
