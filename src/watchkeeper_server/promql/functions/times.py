"""Parts of dates, in UTC: `hour`, `day_of_week` and their like, of Unix seconds or, without an argument, of each step.

What is too far away to be a date, and what is no number, has the answer NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.functions.arguments import Instant, vector
from watchkeeper_server.promql.functions.maths import floats
from watchkeeper_server.promql.functions.windows import answer
from watchkeeper_server.promql.values import Floats, Ints, Matrix, Value

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# 1970-01-01 was a Thursday
_FIRST_WEEKDAY = 4
# Seconds either side of 1970 that numpy's calendar can tell, 30 million years.
_FARTHEST = 1e15


def _days(seconds: Ints) -> Ints:
    return seconds // _DAY


def _start(seconds: Ints, unit: str, ahead: int = 0) -> Ints:
    """The first day, from 1970-01-01, of the month or year (or of one so many later)."""
    days = (seconds.astype("datetime64[s]").astype(f"datetime64[{unit}]") + ahead).astype("datetime64[D]")
    return days.astype(np.int64)


def _months(seconds: Ints) -> Ints:
    return seconds.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)


_PARTS: Mapping[str, Callable[[Ints], Ints]] = {
    "minute": lambda seconds: seconds // _MINUTE % 60,
    "hour": lambda seconds: seconds // _HOUR % 24,
    "day_of_week": lambda seconds: (_days(seconds) + _FIRST_WEEKDAY) % 7,
    "day_of_month": lambda seconds: _days(seconds) - _start(seconds, "M") + 1,
    "day_of_year": lambda seconds: _days(seconds) - _start(seconds, "Y") + 1,
    "days_in_month": lambda seconds: _start(seconds, "M", 1) - _start(seconds, "M"),
    "month": lambda seconds: _months(seconds) % 12 + 1,
    "year": lambda seconds: _months(seconds) // 12 + 1970,
}


def _part(compute: Callable[[Ints], Ints]) -> Instant:
    def function(context: Context, arguments: Sequence[Value]) -> Value:
        if not arguments:
            values = compute(_whole_seconds(context.steps.times)).astype(np.float64)[None]
            return Matrix([{}], values, np.ones(values.shape, np.bool_))
        matrix = vector(arguments[0])
        known = np.abs(matrix.values) < _FARTHEST
        parts = compute(np.where(known, matrix.values, 0.0).astype(np.int64))
        return answer(matrix.labels, np.where(known, parts, np.nan), floats(matrix))

    return function


def _whole_seconds(milliseconds: Ints) -> Ints:
    return np.trunc(milliseconds / 1000).astype(np.int64)


def timestamp(context: Context, arguments: Sequence[Value]) -> Value:
    """The time of the step, for what is no selector."""
    matrix = vector(arguments[0])
    seconds: Floats = np.broadcast_to(context.steps.times / 1000, matrix.values.shape)
    return answer(matrix.labels, seconds, matrix.present)


TIMES: Mapping[str, Instant] = {
    **{name: _part(compute) for name, compute in _PARTS.items()},
    "timestamp": timestamp,
}
