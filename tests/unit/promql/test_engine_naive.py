"""The engine against a naive evaluator, on queries and series drawn at random."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import promql_naive as naive
from support.promql import MemoryReader
from watchkeeper_server.promql.engine import Engine
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.promql.parser import parse
from watchkeeper_server.promql.tree import Expr
from watchkeeper_server.promql.values import STALE, Matrix, Scalar

MINUTE = 60_000
VALUES = st.sampled_from([0.0, 1.0, 2.0, 2.0, 3.5, -1.0, -2.5, math.nan, math.inf, -math.inf, naive.STALE])
SAMPLES = st.dictionaries(st.integers(0, 30).map(lambda half: half * MINUTE // 2), VALUES, min_size=3, max_size=12)
LABELS = st.fixed_dictionaries(
    {naive.NAME: st.sampled_from("mn")}, optional={"a": st.sampled_from("12"), "b": st.sampled_from("xy")}
)
SERIES = st.dictionaries(LABELS.map(lambda of: frozenset(of.items())), SAMPLES, min_size=2, max_size=8)

SELECTORS = st.builds(
    lambda name, matcher, modifier: f"{name}{matcher}{modifier}",
    st.sampled_from("mn"),
    st.sampled_from(["", "", '{a="1"}', '{b=""}']),
    st.sampled_from(["", "", "", " offset 2m", " offset -90s", " @ 480", " @ start()", " @ end() offset 1m"]),
)
RANGES = st.sampled_from(["m[2m]", "n[90s]", 'm{a="1"}[5m] offset 1m', "m[4m] @ 600", "m[30s] @ end()"])
AGGREGATIONS = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]
GROUPINGS = st.sampled_from(["", "by (a)", "by (a, b)", "without (a)", "by (__name__)", "without ()"])
MATCHINGS = st.sampled_from(["", "on (a)", "ignoring (b)", "on (a, b)", "on ()"])
ONE_SIDED = st.sampled_from(["", "", "group_left ()", "group_right ()", "group_left (b)", "group_right (b)"])
FILLS = st.sampled_from(["", "", "", "fill (0)", "fill_left (1)", "fill_right (2)"])
ARITHMETIC, COMPARISONS = st.sampled_from([*naive.ARITHMETIC]), st.sampled_from([*naive.COMPARISONS])
NUMBERS = st.sampled_from(["0", "1", "2", "-1", "0.5", "NaN", "Inf"])


def _matching(on: str, side: str, fill: str) -> str:
    allowed = on and not ("(b)" in side and on == "on (a, b)")
    return f"{on} {side if allowed else ''} {fill}"


def _grown(vectors: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    matching = st.builds(_matching, MATCHINGS, ONE_SIDED, FILLS)
    compares = st.builds("{} {}".format, COMPARISONS, st.sampled_from(["", "bool"]))
    return st.one_of(
        st.builds("{} {} ({})".format, st.sampled_from(AGGREGATIONS), GROUPINGS, vectors),
        st.builds("quantile {} ({}, {})".format, GROUPINGS, NUMBERS.filter(lambda text: text != "NaN"), vectors),
        st.builds(
            "{} {} ({}, {})".format, st.sampled_from(["topk", "bottomk"]), GROUPINGS, st.sampled_from("0123"), vectors
        ),
        st.builds("({}) {} {} ({})".format, vectors, ARITHMETIC, matching, vectors),
        st.builds("({}) {} {} ({})".format, vectors, compares, matching, vectors),
        st.builds("({}) {} {} ({})".format, vectors, st.sampled_from(["and", "or", "unless"]), MATCHINGS, vectors),
        st.builds("({}) {} {}".format, vectors, ARITHMETIC | compares, NUMBERS),
        st.builds("{} {} ({})".format, NUMBERS, ARITHMETIC | compares, vectors),
        st.builds("-({})".format, vectors),
        st.builds("count_over_time(({})[3m:1m])".format, vectors),
        st.builds("count_over_time(({})[2m:30s] offset 45s)".format, vectors),
    )


LEAVES = SELECTORS | st.builds("count_over_time({})".format, RANGES)
QUERIES = st.recursive(LEAVES, _grown, max_leaves=4)
STEPS = st.sampled_from(
    [(300_000, 300_000, 0), (0, 900_000, 90_000), (600_000, 1_260_000, MINUTE), (-60_000, 60_000, 7_000)]
)


@settings(max_examples=250, deadline=None)
@given(SERIES, QUERIES, STEPS)
def test_a_query_answers_at_each_step_what_the_documentation_says(
    series: dict[naive.Labels, dict[int, Any]], query: str, steps: tuple[int, int, int]
) -> None:
    start, end, step = steps
    tree = parse(query, experimental=True)
    expected = _expected({of: sorted(points.items()) for of, points in series.items()}, tree, *steps)
    reader = MemoryReader(
        [
            (dict(of), [(time, STALE if value == naive.STALE else value) for time, value in sorted(points.items())])
            for of, points in series.items()
        ]
    )
    engine = Engine(reader, EngineOptions(experimental=True))
    if expected is None:
        with pytest.raises(ExecutionError):
            engine.range(query, start, end, step) if step else engine.instant(query, start)
        return
    result = engine.range(query, start, end, step) if step else engine.instant(query, start)
    assert _told(result.value) == expected


def _expected(series: Any, tree: Expr, start: int, end: int, step: int) -> list[dict[naive.Labels, Any]] | None:
    reference = naive.Naive(series, start, end)
    try:
        vectors = [reference.at(tree, time) for time in (range(start, end + 1, step) if step else [start])]
    except naive.ConflictError:
        return None
    return [{of: _rounded(value) for of, value in vector.items()} for vector in vectors if isinstance(vector, dict)]


def _told(value: Any) -> list[dict[naive.Labels, Any]]:
    assert isinstance(value, Matrix)
    assert not isinstance(value, Scalar)
    keys = [frozenset(of.items()) for of in value.labels]
    return [
        {
            key: _rounded(float(row[step]))
            for key, row, here in zip(keys, value.values, value.present, strict=True)
            if here[step]
        }
        for step in range(value.values.shape[1])
    ]


def _rounded(value: float) -> Any:
    """Comparable: NaN is itself, and the last digits do not count."""
    return f"{value + 0.0:.9g}" if abs(value) > 1e-9 or math.isnan(value) else "0"
