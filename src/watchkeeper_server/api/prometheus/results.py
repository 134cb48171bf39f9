"""A query's result as JSON: no Python code runs once a sample, only once a series.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from watchkeeper_server.api.prometheus.texts import time_texts, value_texts
from watchkeeper_server.model.tsdb import ExemplarSeries
from watchkeeper_server.promql.histograms import all_to_json
from watchkeeper_server.promql.numbers import plain
from watchkeeper_server.promql.values import Bools, Ints, Matrix, Result, Samples, Scalar, Text


def instant_json(result: Result, limit: int) -> tuple[str, bool]:
    """An instant query's `resultType` and `result`, and whether series past the limit were left out; 0 is no limit."""
    match result.value:
        case Scalar(values):
            return _single("scalar", result.steps.start, plain(float(values[0]))), False
        case Text(text):
            return _single("string", result.steps.start, text), False
        case Matrix() as vector:
            return _series("vector", _samples(vector, result.steps.times), limit)
        case samples:
            return _series("matrix", samples, limit)


def range_json(result: Result, limit: int) -> tuple[str, bool]:
    """A range query's `resultType` and `result`, and whether series past the limit were left out; 0 is no limit."""
    value = result.value
    if isinstance(value, Scalar):
        value = Matrix([{}], value.values[None, :], np.ones((1, len(value.values)), np.bool_))
    assert isinstance(value, Matrix)  # noqa: S101  the engine evaluates nothing else over a range
    return _series("matrix", _samples(value, result.steps.times), limit)


def exemplars_json(series: Sequence[ExemplarSeries]) -> list[dict[str, Any]]:
    """Exemplars, with their values and times written as those of samples are."""
    exemplars = [exemplar for each in series for exemplar in each["exemplars"]]
    values = value_texts(np.array([exemplar["value"] for exemplar in exemplars], np.float64)).to_pylist()
    times = time_texts(np.array([exemplar["timestamp"] for exemplar in exemplars], np.int64)).to_pylist()
    texts = zip(values, map(orjson.Fragment, times), strict=True)
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


def _single(kind: str, time: int, text: str) -> str:
    # unlike that of a series' point, this time has no trailing zeros
    return f'"resultType":"{kind}","result":[{plain(time / 1000)},{orjson.dumps(text).decode()}]'


def _samples(matrix: Matrix, times: Ints) -> Samples:
    """What is present, series by series; a series of which nothing is present is left out."""
    rows = np.flatnonzero(matrix.present.any(axis=1))
    series, steps = np.nonzero(matrix.present)
    return Samples(
        [matrix.labels[row] for row in rows.tolist()],
        np.concatenate([[0], np.cumsum(matrix.present[rows].sum(axis=1))]),
        times[steps],
        matrix.values[series, steps],
        None if matrix.histogram_of is None else matrix.histogram_of[series, steps],
        matrix.histograms,
    )


def _series(kind: str, samples: Samples, limit: int) -> tuple[str, bool]:
    truncated = 0 < limit < len(samples.labels)
    if truncated:
        samples = _first(samples, limit)
    forms = ('"value":%s', '"histogram":%s') if kind == "vector" else ('"values":[%s]', '"histograms":[%s]')
    lines = []
    for labels, *points in zip(samples.labels, _floats(samples), _histograms(samples), strict=True):
        members = [form % joined for form, joined in zip(forms, points, strict=True) if joined]
        lines.append(f'{{"metric":{orjson.dumps(sorted_labels(labels)).decode()},{",".join(members)}}}')
    return f'"resultType":"{kind}","result":[{",".join(lines)}]', truncated


def _first(samples: Samples, count: int) -> Samples:
    end = samples.offsets[count]
    return Samples(
        samples.labels[:count],
        samples.offsets[: count + 1],
        samples.times[:end],
        samples.values[:end],
        None if samples.histogram_of is None else samples.histogram_of[:end],
        samples.histograms,
    )


def _floats(samples: Samples) -> list[str]:
    """Each series' floats, joined by commas."""
    if samples.histogram_of is None:
        return _points(samples.offsets, samples.times, value_texts(samples.values), '"')
    mask = samples.histogram_of < 0
    return _points(_offsets(samples, mask), samples.times[mask], value_texts(samples.values[mask]), '"')


def _histograms(samples: Samples) -> list[str]:
    """Each series' native histograms, joined by commas."""
    if samples.histogram_of is None or samples.histograms is None:
        return [""] * len(samples.labels)
    mask = samples.histogram_of >= 0
    written = map(orjson.dumps, all_to_json(samples.histograms, samples.histogram_of[mask]))
    texts = pa.array(map(bytes.decode, written), pa.string())
    return _points(_offsets(samples, mask), samples.times[mask], texts, "")


def _offsets(samples: Samples, mask: Bools) -> Ints:
    """Where each series' samples begin among those that the mask marks."""
    return np.concatenate([[0], np.cumsum(mask)])[samples.offsets]


def _points(offsets: Ints, times: Ints, texts: pa.Array, quote: str) -> list[str]:
    """Pairs of time and text, those of a series joined by commas."""
    points = pc.binary_join_element_wise("[", time_texts(times), f",{quote}", texts, f"{quote}]", "")
    lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), points)
    joined: list[str] = pc.binary_join(lists, ",").to_pylist()
    return joined
