"""Native histograms as text and as the HTTP API writes them.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/#native-histograms.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from watchkeeper_server.promql.histograms.bounds import ladder
from watchkeeper_server.promql.histograms.columns import CUSTOM, Rows, take
from watchkeeper_server.promql.numbers import general, plain
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints


def to_json(h: Histograms, row: int) -> dict[str, Any]:
    """`{"count": "4", "sum": "5", "buckets": [[0, "0.5", "1", "1"], …]}`; empty buckets are left out.

    The first number of a bucket says which of its bounds belong to it: 0 the upper, 1 the lower, 2 none, 3 both.
    """
    return all_to_json(h, [row])[0]


def all_to_json(h: Histograms, rows: Rows) -> list[dict[str, Any]]:
    """Many rows, each as `to_json` writes it, in a fraction of the time."""
    h = take(h, rows)
    splits, lower, upper, counts, below, above = _filled(h)
    rules = np.where(below, np.where(above, 3, 1), np.where(above, 0, 2)).tolist()
    buckets = list(map(list, zip(rules, _texts(lower), _texts(upper), _texts(counts), strict=True)))
    written = []
    for count, sum_, (start, end) in zip(_texts(h.count), _texts(h.sum), pairwise(splits.tolist()), strict=True):
        one: dict[str, Any] = {"count": count, "sum": sum_}
        written.append(one | {"buckets": buckets[start:end]} if end > start else one)
    return written


def to_text(h: Histograms, row: int) -> str:
    """`{count:4, sum:5, (0.5,1]:1, …}`; empty buckets are left out."""
    parts = [f"count:{general(float(h.count[row]))}", f"sum:{general(float(h.sum[row]))}"]
    _, *columns = _filled(take(h, [row]))
    for lower, upper, count, below, above in zip(*(column.tolist() for column in columns), strict=True):
        left, right = "[" if below else "(", "]" if above else ")"
        parts.append(f"{left}{general(lower)},{general(upper)}{right}:{general(count)}")
    return "{" + ", ".join(parts) + "}"


def _filled(h: Histograms) -> tuple[Ints, Floats, Floats, Floats, Bools, Bools]:
    """The buckets that are not empty, from each row's lowest to its highest.

    Where each row's begin, lower bounds, upper bounds, counts, which lower and which upper bounds belong to them.
    """
    buckets = ladder(h)
    at = np.flatnonzero(buckets.counts)
    rows = np.searchsorted(buckets.splits, at, "right") - 1
    steps = at - buckets.splits[rows]
    lower, upper, is_zero = buckets.bounds(rows, steps)
    custom = h.schema[rows] == CUSTOM
    lowest = h.positive_offset[rows] + steps == 0
    splits = np.searchsorted(at, buckets.splits)
    return (
        splits,
        lower,
        upper,
        buckets.counts[at],
        np.where(custom, lowest, is_zero | (lower < 0)),
        custom | is_zero | (upper > 0),
    )


def _texts(values: Floats) -> list[str]:
    """As JSON has them: each different number is written once."""
    distinct, place = np.unique(values, return_inverse=True)
    texts = np.array([_json_number(value) for value in distinct.tolist()], np.object_)
    return texts[place].tolist()  # type: ignore[no-any-return]


def _json_number(value: float) -> str:
    exponent = value != 0 and not 1e-6 <= abs(value) < 1e21  # noqa: PLR2004  as Prometheus writes numbers in JSON
    return general(value) if exponent else plain(value)
