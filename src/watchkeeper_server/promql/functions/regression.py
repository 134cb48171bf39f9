"""What a window's floats tend to: `deriv`, `predict_linear`, `double_exponential_smoothing`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.functions import remarks
from watchkeeper_server.promql.functions.arguments import number
from watchkeeper_server.promql.functions.windows import Block, answer, kinds, per_window, total
from watchkeeper_server.promql.values import Floats, Ints, Matrix, Samples, Scalar, Text, Windows


def _of_two_or_more(context: Context, windows: Windows, compute: Callable[[Samples, Block], Floats]) -> Matrix:
    """A function of windows with at least two floats; that histograms are ignored is remarked."""
    of = kinds(windows)
    remarks.histograms_ignored(context, windows.samples.labels, of.mixed)
    values = per_window(of.floats, lambda block: compute(of.floats.samples, block))
    return answer(windows.samples.labels, values, of.float_counts > 1)


def _line(samples: Samples, block: Block, origin: Ints) -> tuple[Floats, Floats]:
    """The line through each window with the least squares: slope, a second, and value at `origin`, milliseconds."""
    values = block.take(samples.values, 0.0)
    beyond = block.beyond()
    times = (samples.times.take(block.places, mode="clip") - origin) / 1000
    np.copyto(times, 0.0, where=beyond)
    count = block.lengths
    sum_x, sum_y, sum_xy, sum_xx = total(times), total(values), total(times * values), total(times * times)
    slope = (sum_xy - sum_x * sum_y / count) / (sum_xx - sum_x * sum_x / count)
    intercept = sum_y / count - slope * sum_x / count
    constant = ((values == values[0]) | beyond).all(axis=0)
    flat = np.where(np.isinf(values[0]), np.nan, 0.0)
    return np.where(constant, flat, slope), np.where(constant, values[0] + flat, intercept)


def deriv(context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
    """The slope of the line through the window, a second."""

    def compute(samples: Samples, block: Block) -> Floats:
        return _line(samples, block, samples.times[block.first])[0]

    return _of_two_or_more(context, windows, compute)


def predict_linear(context: Context, windows: Windows, arguments: Sequence[Scalar | Text]) -> Matrix:
    """Where the line through the window will be so many seconds after the step."""
    ahead, shape = number(arguments[0]), windows.first.shape
    times = np.broadcast_to(context.steps.times, shape).reshape(-1)
    seconds = np.broadcast_to(ahead, shape).reshape(-1)

    def compute(samples: Samples, block: Block) -> Floats:
        slope, intercept = _line(samples, block, times[block.cells])
        return slope * seconds[block.cells] + intercept

    return _of_two_or_more(context, windows, compute)


def double_exponential_smoothing(context: Context, windows: Windows, arguments: Sequence[Scalar | Text]) -> Matrix:
    """The last sample, smoothed with those before it and with their trend.

    Raises:
        ExecutionError: a factor is not between 0 and 1.
    """
    smoothing, trend = number(arguments[0]), number(arguments[1])
    if windows.samples.labels:
        _must_be_factor("smoothing", smoothing)
        _must_be_factor("trend", trend)
    shape = windows.first.shape
    smoothings = np.broadcast_to(smoothing, shape).reshape(-1)
    trends = np.broadcast_to(trend, shape).reshape(-1)

    def compute(samples: Samples, block: Block) -> Floats:
        return _smoothed(block, samples.values, smoothings[block.cells], trends[block.cells])

    return _of_two_or_more(context, windows, compute)


def _smoothed(block: Block, column: Floats, smoothing: Floats, trend: Floats) -> Floats:
    values = block.take(column, 0.0)
    smooth: Floats = values[0]
    if block.longest == 1:
        return smooth
    before, slope = np.zeros(len(smoothing)), values[1] - smooth
    # each value depends on the one before it, so this is one pass for each place in a window, for all windows at once
    for place, row in enumerate(values[1:], 1):
        if place > 1:
            slope = trend * (smooth - before) + (1 - trend) * slope
        next_ = smoothing * row + (1 - smoothing) * (smooth + slope)
        inside = place < block.lengths
        before, smooth = np.where(inside, smooth, before), np.where(inside, next_, smooth)
    return smooth


def _must_be_factor(name: str, factors: Floats) -> None:
    wrong = factors[(factors <= 0) | (factors >= 1)]
    if len(wrong):
        raise ExecutionError(f"invalid {name} factor. Expected: 0 < {name[0]}f < 1, got: {wrong[0]:f}")
