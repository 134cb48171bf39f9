from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.functions import INF, NAN, instant, vector, written
from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.histograms import from_rows
from watchkeeper_server.promql.values import Labels, Matrix

LATENCY = {
    'h_bucket{le="0.1"}': 50.0,
    'h_bucket{le="0.5"}': 90.0,
    'h_bucket{le="1"}': 100.0,
    'h_bucket{le="+Inf"}': 100.0,
}
MONOTONICITY = (
    "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see "
    "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
)


def _single(result: object) -> float:
    assert isinstance(result, Matrix)
    assert result.labels == [{}]
    assert result.present.tolist() == [[True]]
    return float(result.values[0, 0])


@pytest.mark.parametrize(
    ("q", "expected"),
    [(0, 0), (0.25, 0.05), (0.5, 0.1), (0.7, 0.3), (0.95, 0.75), (1, 1), (-0.1, -INF), (1.1, INF), (NAN, NAN)],
)
def test_a_quantile_lies_on_a_line_within_its_bucket(q: float, expected: float) -> None:
    assert _single(instant("histogram_quantile", q, vector(LATENCY))) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("buckets", "q", "expected"),
    [
        ({"1": 0, "+Inf": 10}, 0.5, 1),  # in the last bucket: its lower bound
        ({"-1": 5, "1": 10, "+Inf": 10}, 0.2, -1),  # in the first, not above 0: its bound
        ({"-1": 0, "1": 10, "+Inf": 10}, 0.5, 0),
        ({"+Inf": 10}, 0.5, NAN),
        ({"1": 10}, 0.5, NAN),
        ({"1": 10, "2": 10}, 0.5, NAN),
        ({"1": 0, "+Inf": 0}, 0.5, NAN),
        ({"1": 5, "1.0": 5, "inf": 10}, 1, 1),  # the same bound, written differently
        ({"1e0": 5, "Infinity": 10}, 0.25, 0.5),
    ],
)
def test_bounds_of_all_sorts(buckets: dict[str, float], q: float, expected: float) -> None:
    series = {f'h{{le="{bound}"}}': float(count) for bound, count in buckets.items()}
    assert _single(instant("histogram_quantile", q, vector(series))) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [(-INF, INF, 1), (0, 0.1, 0.5), (0.1, 0.3, 0.2), (-5, 0.05, 0.25), (1, INF, 0), (0.5, 0.5, 0), (NAN, 1, NAN)],
)
def test_a_fraction_is_the_inverse_of_a_quantile(lower: float, upper: float, expected: float) -> None:
    result = _single(instant("histogram_fraction", lower, upper, vector(LATENCY)))
    assert result == pytest.approx(expected, nan_ok=True)


def test_a_bucket_missing_at_a_step_is_as_if_it_never_was() -> None:
    series = {'{le="1"}': [4.0, 4.0, 4.0], '{le="2"}': [8.0, None, 8.0], '{le="+Inf"}': [8.0, 8.0, None]}
    result = instant("histogram_quantile", 1, vector(series))
    assert isinstance(result, Matrix)
    np.testing.assert_array_equal(result.values, [[2, 1, NAN]])
    assert result.present.all()


def test_histograms_with_different_buckets_stand_side_by_side() -> None:
    series = {
        '{a="1",le="1"}': 5.0,
        '{a="1",le="+Inf"}': 10.0,
        **{f'{{a="2",le="{le}"}}': 9.0 for le in (1, 2, "+Inf")},
    }
    result = written(instant("histogram_quantile", 0.25, vector(series)))
    assert result == {'{a="1"}': [0.5], '{a="2"}': [0.25]}


def test_counts_that_fall_are_raised_and_remarked_once_a_metric() -> None:
    annotations = Annotations()
    series = {
        '{a="1",le="1"}': [40.0, 10.0], '{a="1",le="5"}': [30.0, 20.0], '{a="1",le="+Inf"}': [50.0, 20.0],
        '{a="2",le="0.1"}': [9.0, 9.0], '{a="2",le="2.5"}': [8.0, 8.5], '{a="2",le="+Inf"}': [10.0, 10.0],
        'h{le="1"}': [4.0, 4.0], 'h{le="+Inf"}': [3.0, 4.0],
    }  # fmt: skip
    result = instant("histogram_quantile", 0.8, vector(series), annotations=annotations, end=60_000)
    assert written(result)['{a="1"}'] == [1, pytest.approx(3.4)]
    first = "from buckets 2.5 to 5, with a max diff of 10, over 3 samples"
    second = "from buckets +Inf to +Inf, with a max diff of 1, over 1 samples"
    assert annotations.infos == [
        f"{MONOTONICITY}, {first} from 1970-01-01T00:01:00Z to 1970-01-01T00:01:01Z",
        f'{MONOTONICITY} for metric name "h", {second} from 1970-01-01T00:01:00Z to 1970-01-01T00:01:00Z',
    ]


def test_counts_that_differ_by_rounding_are_equal_in_silence() -> None:
    annotations = Annotations()
    series = {'{le="1"}': 0.3, '{le="2"}': 0.1 + 0.2 - 1e-16, '{le="+Inf"}': 0.1 + 0.2}
    assert _single(instant("histogram_quantile", 0.99, vector(series), annotations=annotations)) == 0.99
    assert annotations.infos == []


def test_what_is_no_bucket_is_warned_of() -> None:
    annotations = Annotations()
    series = {**LATENCY, "h_sum": 4.0, 'h_bucket{le="many"}': 3.0, 'h_bucket{le="1_0"}': 3.0, '{le="0x1"}': 3.0}
    assert _single(instant("histogram_quantile", 0.5, vector(series), annotations=annotations)) == 0.1
    start = 'PromQL warning: bucket label "le" is missing or has a malformed value of'
    assert annotations.warnings == [
        f'{start} "" for metric name "h_sum"',
        f'{start} "many" for metric name "h_bucket"',
        f'{start} "1_0" for metric name "h_bucket"',
        f'{start} "0x1"',
    ]


@pytest.mark.parametrize("name", ["histogram_quantile", "histogram_quantiles"])
def test_a_quantile_that_is_none_is_warned_of(name: str) -> None:
    annotations = Annotations()
    arguments = (2, vector(LATENCY)) if name == "histogram_quantile" else (vector(LATENCY), "q", 2)
    instant(name, *arguments, annotations=annotations)
    assert annotations.warnings == ["PromQL warning: quantile value should be between 0 and 1, got 2"]


def test_several_quantiles_are_told_apart_by_a_label() -> None:
    result = written(instant("histogram_quantiles", vector(LATENCY), "q", 0.5, 1, NAN))
    assert [*result] == ['{q="0.5"}', '{q="1.0"}', '{q="NaN"}']
    assert result['{q="0.5"}'] + result['{q="1.0"}'] == [0.1, 1]


def _natives() -> Matrix:
    """A native histogram of four observations in (1, 2], nothing at the second step, a float at the third."""
    histograms = from_rows([{"count": 4, "sum": 6, "positive_offset": 1, "positive": [4]}])
    labels: list[Labels] = [{"__name__": "h", "a": "1"}]
    return Matrix(labels, np.array([[0, 0, 9.0]]), np.array([[True, False, True]]), np.array([[0, -1, -1]]), histograms)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("histogram_count", 4), ("histogram_sum", 6), ("histogram_avg", 1.5),
        ("histogram_stdvar", (math.sqrt(2) - 1.5) ** 2), ("histogram_stddev", 1.5 - math.sqrt(2)),
    ],
)  # fmt: skip
def test_native_histograms_say_what_they_hold_and_floats_nothing(name: str, expected: float) -> None:
    assert written(instant(name, _natives())) == {'{a="1"}': [pytest.approx(expected), None, None]}


def test_native_histograms_have_quantiles_and_fractions() -> None:
    annotations = Annotations()
    quantile = written(instant("histogram_quantile", 0.5, _natives(), annotations=annotations))
    assert quantile == {'{a="1"}': [pytest.approx(math.sqrt(2)), None, None]}
    assert written(instant("histogram_fraction", 1, math.sqrt(2), _natives())) == {
        '{a="1"}': [pytest.approx(0.5), None, None]
    }
    assert annotations.warnings == [
        'PromQL warning: bucket label "le" is missing or has a malformed value of "" for metric name "h"'
    ]


def test_a_native_and_a_classic_histogram_of_the_same_labels_have_no_answer() -> None:
    annotations = Annotations()
    native = _natives()
    classic = vector({'h{a="1",le="1"}': [5.0, 5.0, 5.0], 'h{a="1",le="+Inf"}': [10.0, 10.0, 10.0]})
    both = Matrix(
        native.labels + classic.labels,
        np.concatenate([native.values, classic.values]),
        np.concatenate([native.present & [[True, False, False]], classic.present]),
        np.concatenate([np.array([[0, -1, -1]]), np.full((2, 3), -1)]),
        native.histograms,
    )
    assert written(instant("histogram_quantile", 0.25, both, annotations=annotations)) == {'{a="1"}': [None, 0.5, 0.5]}
    assert annotations.warnings == [
        'PromQL warning: vector contains a mix of classic and native histograms for metric name "h"'
    ]


def test_nan_observations_are_remarked() -> None:
    annotations = Annotations()
    histograms = from_rows([{"count": 5, "sum": NAN, "positive": [4]}])
    given_ = Matrix([{}], np.zeros((1, 1)), np.ones((1, 1), np.bool_), np.zeros((1, 1), np.int64), histograms)
    for q in (0.5, 1):
        instant("histogram_quantile", q, given_, annotations=annotations)
    instant("histogram_fraction", 0, 1, given_, annotations=annotations)
    assert annotations.infos == [
        "PromQL info: input to histogram_quantile has NaN observations, result is skewed higher",
        "PromQL info: input to histogram_quantile has NaN observations, result is NaN",
        "PromQL info: input to histogram_fraction has NaN observations, which are excluded from all fractions",
    ]


def _close(a: float, b: float) -> bool:
    if a == b:
        return True
    total = abs(a) + abs(b)
    if a == 0 or b == 0 or total < 2.0**-1022:
        return abs(a - b) < 1e-12 * 2.0**-1022
    return abs(a - b) / total < 1e-12


def _naive_quantile(q: float, buckets: list[tuple[float, float]]) -> float:
    if buckets[-1][0] != INF:
        return NAN
    counts = [buckets[0][1]]
    for _, count in buckets[1:]:
        counts.append(counts[-1] if _close(counts[-1], count) or count < counts[-1] else count)
    bounds = [bound for bound, _ in buckets]
    if len(counts) < 2 or counts[-1] == 0:
        return NAN
    rank = q * counts[-1]
    hit = next((index for index, count in enumerate(counts[:-1]) if count >= rank), None)
    if hit is None:
        return bounds[-2]
    if hit == 0 and bounds[0] <= 0:
        return bounds[0]
    lower, below = (bounds[hit - 1], counts[hit - 1]) if hit else (0.0, 0.0)
    with np.errstate(all="ignore"):
        return lower + (bounds[hit] - lower) * float(np.float64(rank - below) / (counts[hit] - below))


def _naive_rank(value: float, buckets: list[tuple[float, float]]) -> float:
    below, lower = 0.0, 0.0 if buckets[0][0] > 0 else -INF
    for bound, count in buckets:
        if lower >= value:
            return min(below, buckets[-1][1])
        if lower < value < bound:
            inside = count if lower == -INF else below + (count - below) * (value - lower) / (bound - lower)
            return min(inside, buckets[-1][1])
        below, lower = count, bound
    return buckets[-1][1]


_BOUNDS = st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 2.5, 10.0]), unique=True, max_size=7)
_COUNTS = st.sampled_from([0.0, 1.0, 1.0 + 1e-13, 2.0, 3.5, 7.0, 1e9])


@given(data=st.data(), q=st.floats(0, 1), lower=st.floats(-3, 12), width=st.floats(0, 9))
def test_columns_have_the_answer_of_buckets_one_by_one(
    data: st.DataObject, q: float, lower: float, width: float
) -> None:
    series: dict[str, list[float | None]] = {}
    steps: list[dict[str, list[tuple[float, float]]]] = [{}, {}]
    for row in range(data.draw(st.integers(1, 3))):
        for bound in [*sorted(data.draw(_BOUNDS)), INF]:
            counts = data.draw(st.lists(st.none() | _COUNTS, min_size=2, max_size=2))
            series[f'{{row="{row}",le="{bound}"}}'] = counts
            for step, count in zip(steps, counts, strict=True):
                if count is not None:
                    step.setdefault(f'{{row="{row}"}}', []).append((bound, count))
    upper = lower + width
    quantiles = written(instant("histogram_quantile", q, vector(series)))
    fractions = written(instant("histogram_fraction", lower, upper, vector(series)))
    for at, step in enumerate(steps):
        assert {name for name, row in quantiles.items() if row[at] is not None} == set(step)
        for name, buckets in step.items():
            assert quantiles[name][at] == pytest.approx(_naive_quantile(q, buckets), rel=0, abs=0, nan_ok=True)
            whole = buckets[-1][1] if buckets[-1][0] == INF else 0
            part = _naive_rank(upper, buckets) - _naive_rank(lower, buckets)
            expected = NAN if not whole else 0.0 if lower >= upper else part / whole
            assert fractions[name][at] == pytest.approx(expected, rel=0, abs=0, nan_ok=True)
