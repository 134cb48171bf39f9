from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.functions import INF, NAN, instant, vector, written
from watchkeeper_server.promql.values import Matrix

PARTS = [
    "minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year",
]  # fmt: skip


def _parts(seconds: float) -> list[float]:
    results = [instant(name, vector({"x": seconds})) for name in PARTS]
    return [float(result.values[0, 0]) for result in results if isinstance(result, Matrix)]


def _expected(when: datetime) -> list[float]:
    year, month = (when.year + when.month // 12, when.month % 12 + 1)
    length = (datetime(year, month, 1, tzinfo=UTC) - when.replace(day=1, hour=0, minute=0, second=0)).days
    weekday = when.isoweekday() % 7
    return [when.minute, when.hour, weekday, when.day, when.timetuple().tm_yday, length, when.month, when.year]


@given(st.integers(-62_135_596_800 + 86400, 253_370_764_799))
def test_dates_before_and_after_1970_have_the_parts_of_the_calendar(seconds: int) -> None:
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert _parts(seconds) == _expected(when)


def test_fractions_of_a_second_are_cut_off() -> None:
    assert _parts(59.999) == _parts(59)
    assert _parts(-0.5) == _parts(0)


@pytest.mark.parametrize("seconds", [NAN, INF, -INF, 1e300, -1e16])
def test_what_is_no_date_has_no_parts(seconds: float) -> None:
    assert np.isnan(_parts(seconds)).all()


def test_far_future_is_a_date_still() -> None:
    assert _parts(253_402_300_800)[-1] == 10_000
    assert _parts(9e14)[-1] > 28_000_000


def test_without_an_argument_it_is_the_step_that_is_told() -> None:
    assert written(instant("hour", end=3_600_000 * 30)) == {"": [6]}
    assert written(instant("minute", end=-1)) == {"": [0]}


def test_timestamp_is_the_time_of_the_step() -> None:
    result = instant("timestamp", vector({'x{a="1"}': [1, None, 3]}), end=1000)
    assert written(result) == {'{a="1"}': [1, None, 3]}
