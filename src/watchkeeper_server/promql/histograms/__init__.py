"""Native histograms, row by row over columns: `watchkeeper_server.promql.values.Histograms` says what a row is.

Source: https://prometheus.io/docs/specs/native_histograms/.
"""

from watchkeeper_server.promql.histograms.algebra import add, avg_groups, divide, scale, subtract, sum_groups
from watchkeeper_server.promql.histograms.columns import EMPTY, compact, concat, equal, from_rows, take
from watchkeeper_server.promql.histograms.moments import avg, stddev, stdvar
from watchkeeper_server.promql.histograms.over_time import avg_over_time, changes, resets, sum_over_time
from watchkeeper_server.promql.histograms.quantiles import fraction, quantile
from watchkeeper_server.promql.histograms.rates import delta, idelta, increase, irate, rate
from watchkeeper_server.promql.histograms.text import all_to_json, to_json, to_text
from watchkeeper_server.promql.histograms.trim import trim_lower, trim_upper
from watchkeeper_server.promql.histograms.windows import histogram_counts

__all__ = [
    "EMPTY",
    "add",
    "all_to_json",
    "avg",
    "avg_groups",
    "avg_over_time",
    "changes",
    "compact",
    "concat",
    "delta",
    "divide",
    "equal",
    "fraction",
    "from_rows",
    "histogram_counts",
    "idelta",
    "increase",
    "irate",
    "quantile",
    "rate",
    "resets",
    "scale",
    "stddev",
    "stdvar",
    "subtract",
    "sum_groups",
    "sum_over_time",
    "take",
    "to_json",
    "to_text",
    "trim_lower",
    "trim_upper",
]
