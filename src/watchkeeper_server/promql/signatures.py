"""The functions and aggregations of PromQL: what they are given and what they answer.

Source: https://prometheus.io/docs/prometheus/latest/querying/functions/ and …/operators/#aggregation-operators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from watchkeeper_server.promql.tree import ValueType

_SCALAR, _VECTOR, _MATRIX, _STRING = ValueType.SCALAR, ValueType.VECTOR, ValueType.MATRIX, ValueType.STRING


@dataclass(frozen=True, slots=True)
class Signature:
    """A function. With `variadic`, the last of `arguments` may be missing or repeated so often, with -1 any number."""

    name: str
    arguments: tuple[ValueType, ...]
    returns: ValueType = ValueType.VECTOR
    variadic: int = 0
    experimental: bool = False

    @property
    def least(self) -> int:
        """How many arguments it needs."""
        return len(self.arguments) - bool(self.variadic)

    @property
    def most(self) -> int | None:
        """How many arguments it takes; None if any number."""
        return None if self.variadic < 0 else self.least + self.variadic

    def argument(self, index: int) -> ValueType:
        """The type of an argument."""
        return self.arguments[min(index, len(self.arguments) - 1)]


@dataclass(frozen=True, slots=True)
class AggregationSignature:
    """An aggregation of a vector; `parameter` is the type of its first argument if it has two."""

    name: str
    parameter: ValueType | None = None
    experimental: bool = False


_OF_VECTOR = """
    abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count
    histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad sgn sin sinh sort sort_desc sqrt tan tanh
    timestamp
"""
_OF_TIME = "day_of_month day_of_week day_of_year days_in_month hour minute month year"
_OF_RANGE = """
    absent_over_time avg_over_time changes count_over_time delta deriv idelta increase irate last_over_time
    max_over_time min_over_time present_over_time rate resets stddev_over_time stdvar_over_time sum_over_time
"""
_OF_RANGE_EXPERIMENTAL = """
    first_over_time mad_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time
"""
_OF_QUERY_EXPERIMENTAL = "end range start step"
_AGGREGATIONS = "avg count group max min stddev stdvar sum"

SIGNATURES: Mapping[str, Signature] = MappingProxyType(
    {
        signature.name: signature
        for signature in (
            *(Signature(name, (_VECTOR,)) for name in _OF_VECTOR.split()),
            *(Signature(name, (_VECTOR,), variadic=1) for name in _OF_TIME.split()),
            *(Signature(name, (_MATRIX,)) for name in _OF_RANGE.split()),
            *(Signature(name, (_MATRIX,), experimental=True) for name in _OF_RANGE_EXPERIMENTAL.split()),
            *(Signature(name, (), _SCALAR, experimental=True) for name in _OF_QUERY_EXPERIMENTAL.split()),
            Signature("clamp", (_VECTOR, _SCALAR, _SCALAR)),
            Signature("clamp_max", (_VECTOR, _SCALAR)),
            Signature("clamp_min", (_VECTOR, _SCALAR)),
            Signature("double_exponential_smoothing", (_MATRIX, _SCALAR, _SCALAR), experimental=True),
            Signature("histogram_fraction", (_SCALAR, _SCALAR, _VECTOR)),
            Signature("histogram_quantile", (_SCALAR, _VECTOR)),
            Signature("histogram_quantiles", (_VECTOR, _STRING, _SCALAR, _SCALAR), variadic=9, experimental=True),
            Signature("info", (_VECTOR, _VECTOR), variadic=1, experimental=True),
            Signature("label_join", (_VECTOR, _STRING, _STRING, _STRING), variadic=-1),
            Signature("label_replace", (_VECTOR, _STRING, _STRING, _STRING, _STRING)),
            Signature("max_of", (_SCALAR, _SCALAR), _SCALAR, experimental=True),
            Signature("min_of", (_SCALAR, _SCALAR), _SCALAR, experimental=True),
            Signature("pi", (), _SCALAR),
            Signature("predict_linear", (_MATRIX, _SCALAR)),
            Signature("quantile_over_time", (_SCALAR, _MATRIX)),
            Signature("round", (_VECTOR, _SCALAR), variadic=1),
            Signature("scalar", (_VECTOR,), _SCALAR),
            Signature("sort_by_label", (_VECTOR, _STRING), variadic=-1, experimental=True),
            Signature("sort_by_label_desc", (_VECTOR, _STRING), variadic=-1, experimental=True),
            Signature("time", (), _SCALAR),
            Signature("vector", (_SCALAR,)),
        )
    }
)

AGGREGATIONS: Mapping[str, AggregationSignature] = MappingProxyType(
    {
        signature.name: signature
        for signature in (
            *(AggregationSignature(name) for name in _AGGREGATIONS.split()),
            *(AggregationSignature(name, _SCALAR) for name in ("bottomk", "quantile", "topk")),
            *(AggregationSignature(name, _SCALAR, experimental=True) for name in ("limit_ratio", "limitk")),
            AggregationSignature("count_values", _STRING),
        )
    }
)
