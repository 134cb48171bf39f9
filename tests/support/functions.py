"""PromQL's functions called by name, over windows and vectors written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from support.promql import labels, samples
from watchkeeper_server.promql import selectors
from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.functions import INSTANT, OVER_RANGE
from watchkeeper_server.promql.tree import Span
from watchkeeper_server.promql.values import METRIC_NAME, Matrix, Samples, Scalar, Steps, Text, Value, Windows

NAN, INF = float("nan"), float("inf")
Points = Sequence[tuple[int, float]]


def at(steps: Steps, arguments: int, annotations: Annotations | None = None) -> Context:
    """A context of these steps and so many arguments; its spans are nowhere."""
    return Context(steps, annotations or Annotations(), Span(0, 0), (Span(0, 0),) * arguments)


def windows(series: Mapping[str, Points] | Samples, steps: Steps, length: int) -> Windows:
    """The windows of this length that end at the steps."""
    held = series if isinstance(series, Samples) else samples(series)
    return selectors.windows(held, steps.times, length)


def over(
    name: str,
    series: Mapping[str, Points] | Samples,
    length: int,
    *numbers: float,
    steps: Steps,
    annotations: Annotations | None = None,
) -> Matrix:
    """A function of a range vector."""
    arguments = [Scalar(np.full(steps.count, number)) for number in numbers]
    return OVER_RANGE[name](at(steps, 1 + len(numbers), annotations), windows(series, steps, length), arguments)


def over_points(name: str, points: Points, *numbers: float, length: int = 1000, end: int = 1000) -> list[float]:
    """The answer for one window of one series, empty if there is none."""
    result = over(name, {"x_total": points}, length, *numbers, steps=Steps(end, end, 0))
    return result.values[result.present].tolist()


def over_values(name: str, values: Iterable[float], *numbers: float) -> list[float]:
    """The answer for a window of samples 1 s apart, the last one at its end."""
    points = [(1000 * index, value) for index, value in enumerate(values, 1)]
    return over_points(name, points, *numbers, length=len(points) * 1000, end=len(points) * 1000)


def vector(series: Mapping[str, float | Sequence[float | None] | None]) -> Matrix:
    """Series of floats by their labels, at one step or more; None is nothing."""
    rows = [row if isinstance(row, Sequence) else [row] for row in series.values()]
    present = np.array([[value is not None for value in row] for row in rows], np.bool_)
    values = np.array([[0.0 if value is None else value for value in row] for row in rows], np.float64)
    return Matrix([labels(name) for name in series], values, present)


def instant(name: str, *arguments: Matrix | float | str, annotations: Annotations | None = None, end: int = 0) -> Value:
    """A function without a range vector; its steps, 1 s apart, are as many as the first vector's and begin at `end`."""
    count = next((given.values.shape[1] for given in arguments if isinstance(given, Matrix)), 1)
    steps = Steps(end, end + 1000 * (count - 1), 1000)
    return INSTANT[name](at(steps, len(arguments), annotations), [_value(given, count) for given in arguments])


def _value(given: Matrix | float | str, count: int) -> Value:
    if isinstance(given, Matrix):
        return given
    return Text(given) if isinstance(given, str) else Scalar(np.full(count, given, np.float64))


def written(value: Value) -> dict[str, list[float | None]]:
    """A vector as `vector` reads it."""
    assert isinstance(value, Matrix)
    return {
        _written(of): [number if here else None for number, here in zip(row, where, strict=True)]
        for of, row, where in zip(value.labels, value.values.tolist(), value.present.tolist(), strict=True)
    }


def _written(of: Mapping[str, str]) -> str:
    rest = ",".join(f'{name}="{value}"' for name, value in sorted(of.items()) if name != METRIC_NAME)
    return of.get(METRIC_NAME, "") + (f"{{{rest}}}" if rest else "")
