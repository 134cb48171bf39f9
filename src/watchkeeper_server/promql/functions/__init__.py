"""PromQL's functions by name: those of instant vectors and scalars, and those of a range vector.

`absent`, `absent_over_time`, `info`, and `timestamp` of a selector are the engine's own.

Source: https://prometheus.io/docs/prometheus/latest/querying/functions/.
"""

from watchkeeper_server.promql.functions.tables import INSTANT, OVER_RANGE

__all__ = ["INSTANT", "OVER_RANGE"]
