"""Functions of windows against the same functions written down sample by sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from support.functions import INF, NAN, over
from support.promql import samples
from watchkeeper_server.promql.functions import windows as blocks
from watchkeeper_server.promql.values import Samples, Steps

# Times and values of a window, its start and end; None where there is no answer.
Window: TypeAlias = tuple[list[int], list[np.float64], int, int]
Naive: TypeAlias = Callable[[Window], float | None]


def _add(value: np.float64, total: np.float64, lost: np.float64) -> tuple[np.float64, np.float64]:
    new = total + value
    if np.isinf(new):
        return new, np.float64(0)
    if abs(total) >= abs(value):
        return new, lost + ((total - new) + value)
    return new, lost + ((value - new) + total)


def _sums(values: list[np.float64]) -> tuple[np.float64, np.float64]:
    total, lost = np.float64(0), np.float64(0)
    for value in values:
        total, lost = _add(value, total, lost)
    return total, lost


def _sum(window: Window) -> float | None:
    total, lost = _sums(window[1])
    return total if np.isinf(total) else total + lost


def _avg(window: Window) -> float | None:
    total, lost, mean, overflown = window[1][0], np.float64(0), np.float64(0), False
    for count, value in enumerate(window[1][1:], 2):
        if not overflown:
            new, new_lost = _add(value, total, lost)
            if not np.isinf(new):
                total, lost = new, new_lost
                continue
            overflown, mean, lost = True, total / (count - 1), lost / (count - 1)
        part = (count - 1) / count
        mean, lost = _add(value / count, part * mean, part * lost)
    count = len(window[1])
    return mean + lost if overflown else total / count + lost / count


def _extreme(better: Callable[[float, float], bool], *, time: bool) -> Naive:
    def function(window: Window) -> float | None:
        best, when = window[1][0], window[0][0]
        for each, value in zip(window[0], window[1], strict=True):
            if better(value, best) or np.isnan(best):
                best, when = value, each
        return when / 1000 if time else best

    return function


def _quantile(q: float, values: list[np.float64]) -> float:
    if math.isnan(q) or not 0 <= q <= 1:
        return NAN if math.isnan(q) else math.copysign(INF, q)
    ordered = sorted(values, key=lambda value: (not np.isnan(value), value))
    rank = q * (len(values) - 1)
    low = math.floor(rank)
    high = min(len(values) - 1, low + 1)
    weight = rank - low
    return ordered[low] * (1 - weight) + ordered[high] * weight


def _mad(window: Window) -> float | None:
    median = _quantile(0.5, window[1])
    return _quantile(0.5, [abs(value - median) for value in window[1]])


def _changes(window: Window) -> float | None:
    pairs = pairwise(window[1])
    return float(sum(a != b and not (np.isnan(a) and np.isnan(b)) for a, b in pairs))


def _resets(window: Window) -> float | None:
    return float(sum(b < a for a, b in pairwise(window[1])))


def _extrapolated(*, counter: bool, per_second: bool) -> Naive:
    def function(window: Window) -> float | None:
        times, values, start, end = window
        if len(values) < 2:
            return None
        change = values[-1] - values[0]
        if counter:
            for before, after in pairwise(values):
                change = change + before if after < before else change
        to_start, to_end = (times[0] - start) / 1000, (end - times[-1]) / 1000
        seen = np.float64(times[-1] - times[0]) / 1000
        distance = seen / (len(values) - 1)
        if to_start >= distance * 1.1:
            to_start = distance / 2
        if counter and change > 0 and values[0] >= 0:
            to_start = min(to_start, seen * (values[0] / change))
        if to_end >= distance * 1.1:
            to_end = distance / 2
        factor = (seen + to_start + to_end) / seen
        if per_second:
            factor /= (end - start) / 1000
        return change * factor

    return function


def _last_two(*, counter: bool) -> Naive:
    def function(window: Window) -> float | None:
        times, values, *_ = window
        if len(values) < 2:
            return None
        change = values[-1] - values[-2]
        if not counter:
            return change
        return (values[-1] if values[-1] < values[-2] else change) / ((times[-1] - times[-2]) / 1000)

    return function


def _line(window: Window, origin: int) -> tuple[float, float] | None:
    times, values, *_ = window
    count = len(values)
    if count < 2:
        return None
    if all(value == values[0] for value in values[1:]):
        return (NAN, NAN) if np.isinf(values[0]) else (0.0, values[0])
    xs = [np.float64(time - origin) / 1000 for time in times]
    sum_x, sum_y = sum(_sums(xs)), sum(_sums(values))
    sum_xy = sum(_sums([x * y for x, y in zip(xs, values, strict=True)]))
    sum_xx = sum(_sums([x * x for x in xs]))
    slope = (sum_xy - sum_x * sum_y / count) / (sum_xx - sum_x * sum_x / count)
    return slope, sum_y / count - slope * sum_x / count


def _deriv(window: Window) -> float | None:
    line = _line(window, window[0][0])
    return None if line is None else line[0]


def _predict(window: Window) -> float | None:
    line = _line(window, window[3])
    return None if line is None else line[0] * 90.0 + line[1]


def _smoothed(window: Window) -> float | None:
    values, smoothing, trend = window[1], 0.3, 0.6
    if len(values) < 2:
        return None
    before, smooth, slope = np.float64(0), values[0], values[1] - values[0]
    for place, value in enumerate(values[1:]):
        if place:
            slope = trend * (smooth - before) + (1 - trend) * slope
        before, smooth = smooth, smoothing * value + (1 - smoothing) * (smooth + slope)
    return smooth


def _variance(window: Window) -> float | None:
    count, mean, lost_mean, total, lost = 0, *[np.float64(0)] * 4
    for value in window[1]:
        count += 1
        delta = value - (mean + lost_mean)
        mean, lost_mean = _add(delta / count, mean, lost_mean)
        total, lost = _add(delta * (value - (mean + lost_mean)), total, lost)
    return (total + lost) / count


EXACT: dict[str, tuple[Naive, tuple[float, ...]]] = {
    "avg_over_time": (_avg, ()),
    "changes": (_changes, ()),
    "count_over_time": (lambda window: float(len(window[1])), ()),
    "delta": (_extrapolated(counter=False, per_second=False), ()),
    "deriv": (_deriv, ()),
    "double_exponential_smoothing": (_smoothed, (0.3, 0.6)),
    "first_over_time": (lambda window: window[1][0], ()),
    "idelta": (_last_two(counter=False), ()),
    "increase": (_extrapolated(counter=True, per_second=False), ()),
    "irate": (_last_two(counter=True), ()),
    "last_over_time": (lambda window: window[1][-1], ()),
    "mad_over_time": (_mad, ()),
    "max_over_time": (_extreme(lambda value, best: value > best, time=False), ()),
    "min_over_time": (_extreme(lambda value, best: value < best, time=False), ()),
    "predict_linear": (_predict, (90.0,)),
    "present_over_time": (lambda _window: 1.0, ()),
    "quantile_over_time": (lambda window: _quantile(0.7, window[1]), (0.7,)),
    "rate": (_extrapolated(counter=True, per_second=True), ()),
    "resets": (_resets, ()),
    "sum_over_time": (_sum, ()),
    "ts_of_first_over_time": (lambda window: window[0][0] / 1000, ()),
    "ts_of_last_over_time": (lambda window: window[0][-1] / 1000, ()),
    "ts_of_max_over_time": (_extreme(lambda value, best: value >= best, time=True), ()),
    "ts_of_min_over_time": (_extreme(lambda value, best: value <= best, time=True), ()),
}

_ODD = st.sampled_from([NAN, INF, -INF, 0.0, -0.0, 1e308, -1e308, 1.7e308, 5e-324, 1e100, -1e100])
_COMMON = st.integers(-3, 12).map(float) | st.floats(-1e6, 1e6)
_TIMES = st.lists(st.integers(1, 70), max_size=14).map(lambda gaps: np.cumsum(gaps).tolist())


@st.composite
def _series(draw: st.DrawFn, values: st.SearchStrategy[float]) -> Samples:
    points = draw(st.lists(_TIMES, min_size=1, max_size=4))
    return samples({f'x{{i="{i}"}}': [(1000 * t, draw(values)) for t in times] for i, times in enumerate(points)})


_STEPS = st.builds(
    lambda start, count, step: Steps(1000 * start, 1000 * (start + step * (count - 1)), 1000 * step),
    st.integers(0, 400), st.integers(1, 12), st.integers(1, 90),
)  # fmt: skip
_LENGTH = st.integers(1, 600).map(lambda seconds: seconds * 1000)


def _answers(compute: Naive, held: Samples, steps: Steps, length: int) -> list[list[float | None]]:
    rows: list[list[float | None]] = []
    for begin, end in zip(held.offsets[:-1], held.offsets[1:], strict=True):
        times, values = held.times[begin:end], held.values[begin:end]
        row = []
        for step in steps.times.tolist():
            inside = (times > step - length) & (times <= step)
            window = (times[inside].tolist(), list(values[inside]), step - length, step)
            row.append(compute(window) if inside.any() else None)
        rows.append(row)
    return rows


def _check(name: str, held: Samples, steps: Steps, length: int, *, relative: float = 0.0) -> None:
    compute, arguments = EXACT.get(name, (_variance, ()))
    result = over(name, held, length, *arguments, steps=steps)
    with np.errstate(all="ignore"):
        expected = _answers(compute, held, steps, length)
    assert result.present.tolist() == [[value is not None for value in row] for row in expected]
    wanted = np.array([[0.0 if value is None else value for value in row] for row in expected])
    found = np.where(result.present, result.values, 0.0)
    if relative:
        np.testing.assert_allclose(found, wanted, rtol=relative, atol=1e-300)
    else:
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", EXACT)
@given(data=st.data(), steps=_STEPS, length=_LENGTH)
def test_columns_have_bit_for_bit_the_answer_of_samples_one_by_one(
    name: str, data: st.DataObject, steps: Steps, length: int
) -> None:
    _check(name, data.draw(_series(_COMMON | _ODD)), steps, length)


_WHOLE = st.integers(-3, 12).map(float) | st.sampled_from([2.0**51, -(2.0**52), 2.0**53 - 1, 1e300])


@pytest.mark.parametrize("name", ["sum_over_time", "avg_over_time"])
@given(whole=_series(_WHOLE), others=_series(_COMMON | _ODD), start=st.integers(0, 400))
def test_whole_numbers_beside_others_are_added_up_as_exactly(
    name: str, whole: Samples, others: Samples, start: int
) -> None:
    held = Samples(
        [{"i": str(index)} for index in range(len(whole.labels) + len(others.labels))],
        np.concatenate([whole.offsets, whole.offsets[-1] + others.offsets[1:]]),
        np.concatenate([whole.times, others.times]),
        np.concatenate([whole.values, others.values]),
    )
    _check(name, held, Steps(1000 * start, 1000 * (start + 330), 30_000), 300_000)


@given(held=_series(_COMMON), steps=_STEPS, length=_LENGTH)
def test_variance_is_the_same_to_the_last_digits(held: Samples, steps: Steps, length: int) -> None:
    _check("stdvar_over_time", held, steps, length, relative=1e-9)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("entries", [1, 7, 40])
def test_the_size_of_blocks_does_not_matter(name: str, entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    held = samples(
        {
            f'x{{i="{i}"}}': list(zip((np.arange(count) * 10_000).tolist(), random.normal(size=count), strict=True))
            for i, count in enumerate([60, 0, 3, 25, 1])
        }
    )
    monkeypatch.setattr(blocks, "BLOCK_ENTRIES", entries)
    _check(name, held, Steps(50_000, 600_000, 50_000), 300_000)


@given(values=st.lists(_COMMON | _ODD, min_size=1, max_size=40), columns=st.integers(1, 60))
def test_long_and_wide_blocks_are_added_up_alike(values: list[float], columns: int) -> None:
    with np.errstate(all="ignore"):
        assume(np.isfinite(np.cumsum(values)).all())
        total, lost = blocks.sums(np.repeat(np.array(values)[:, None], columns, axis=1))
        expected = _sums(list(np.array(values)))
    assert (total[0], lost[0]) == expected
    assert (total == total[0]).all()
    assert (lost == lost[0]).all()
