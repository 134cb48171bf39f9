"""All functions by name. numpy keeps quiet in them: NaN and infinity are answers like any other."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from watchkeeper_server.promql.functions import over_time, rates, regression, spread
from watchkeeper_server.promql.functions.arguments import Instant, OverRange
from watchkeeper_server.promql.functions.histogram_functions import HISTOGRAMS
from watchkeeper_server.promql.functions.maths import MATHS
from watchkeeper_server.promql.functions.relabelling import RELABELLING
from watchkeeper_server.promql.functions.scalars import SCALARS
from watchkeeper_server.promql.functions.sorting import SORTING
from watchkeeper_server.promql.functions.times import TIMES

_OVER_RANGE: Mapping[str, OverRange] = {
    "avg_over_time": over_time.avg_over_time,
    "changes": over_time.changes,
    "count_over_time": over_time.count_over_time,
    "delta": rates.delta,
    "deriv": regression.deriv,
    "double_exponential_smoothing": regression.double_exponential_smoothing,
    "first_over_time": over_time.first_over_time,
    "idelta": rates.idelta,
    "increase": rates.increase,
    "irate": rates.irate,
    "last_over_time": over_time.last_over_time,
    "mad_over_time": spread.mad_over_time,
    "max_over_time": over_time.max_over_time,
    "min_over_time": over_time.min_over_time,
    "predict_linear": regression.predict_linear,
    "present_over_time": over_time.present_over_time,
    "quantile_over_time": spread.quantile_over_time,
    "rate": rates.rate,
    "resets": over_time.resets,
    "stddev_over_time": spread.stddev_over_time,
    "stdvar_over_time": spread.stdvar_over_time,
    "sum_over_time": over_time.sum_over_time,
    "ts_of_first_over_time": over_time.ts_of_first_over_time,
    "ts_of_last_over_time": over_time.ts_of_last_over_time,
    "ts_of_max_over_time": over_time.ts_of_max_over_time,
    "ts_of_min_over_time": over_time.ts_of_min_over_time,
}

OVER_RANGE: Mapping[str, OverRange] = MappingProxyType(
    {name: np.errstate(all="ignore")(function) for name, function in _OVER_RANGE.items()}
)
"""Of a range vector, then the other arguments in their order; the series are those of the windows."""

INSTANT: Mapping[str, Instant] = MappingProxyType(
    {
        name: np.errstate(all="ignore")(function)
        for table in (HISTOGRAMS, MATHS, RELABELLING, SCALARS, SORTING, TIMES)
        for name, function in table.items()
    }
)
"""Of the arguments, which are evaluated already; those that may be missing are just not there."""
