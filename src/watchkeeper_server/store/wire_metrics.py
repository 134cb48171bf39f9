"""The shape of OTLP's metrics request; `wire` explains how shapes are described.

Of `Metric.data`, a oneof, at most one list of points is not empty, so its columns need no enum to tell them apart.
"""

from __future__ import annotations

from watchkeeper_server.store.wire import MANY, UNROLLED_RESOURCE, message

_EXEMPLAR = message(
    "Exemplar",
    time_unix_nano=(2, "fixed64"),
    as_double=(3, "double"),
    span_id=(4, "bytes"),
    trace_id=(5, "bytes"),
    as_int=(6, "sfixed64"),
    filtered_attributes=(7, "bytes", MANY),
)
# as_double and as_int are a oneof whose default, zero, is the same number either way
_NUMBER_POINT = message(
    "NumberPoint",
    time_unix_nano=(3, "fixed64"),
    as_double=(4, "double"),
    exemplars=(5, _EXEMPLAR, MANY),
    as_int=(6, "sfixed64"),
    attributes=(7, "bytes", MANY),
    flags=(8, "uint32"),
)
_HISTOGRAM_POINT = message(
    "HistogramPoint",
    time_unix_nano=(3, "fixed64"),
    count=(4, "fixed64"),
    sum=(5, "optional double"),
    bucket_counts=(6, "fixed64", MANY),
    explicit_bounds=(7, "double", MANY),
    exemplars=(8, _EXEMPLAR, MANY),
    attributes=(9, "bytes", MANY),
    flags=(10, "uint32"),
)
_BUCKETS = message("Buckets", offset=(1, "sint32"), bucket_counts=(2, "uint64", MANY))
_EXPONENTIAL_POINT = message(
    "ExponentialPoint",
    attributes=(1, "bytes", MANY),
    time_unix_nano=(3, "fixed64"),
    count=(4, "fixed64"),
    sum=(5, "optional double"),
    scale=(6, "sint32"),
    zero_count=(7, "fixed64"),
    positive=(8, _BUCKETS),
    negative=(9, _BUCKETS),
    flags=(10, "uint32"),
    exemplars=(11, _EXEMPLAR, MANY),
    min=(12, "optional double"),
    max=(13, "optional double"),
    zero_threshold=(14, "double"),
)
_SUMMARY_POINT = message(
    "SummaryPoint",
    time_unix_nano=(3, "fixed64"),
    count=(4, "fixed64"),
    sum=(5, "double"),
    quantile_values=(6, message("Quantile", quantile=(1, "double"), value=(2, "double")), MANY),
    attributes=(7, "bytes", MANY),
    flags=(8, "uint32"),
)
_TEMPORALITY = "int32"

METRIC = message(
    "Metric",
    name=(1, "string"),
    description=(2, "string"),
    unit=(3, "string"),
    gauge=(5, message("Gauge", data_points=(1, _NUMBER_POINT, MANY))),
    sum=(
        7,
        message(
            "Sum",
            data_points=(1, _NUMBER_POINT, MANY),
            aggregation_temporality=(2, _TEMPORALITY),
            is_monotonic=(3, "bool"),
        ),
    ),
    histogram=(
        9,
        message("Histogram", data_points=(1, _HISTOGRAM_POINT, MANY), aggregation_temporality=(2, _TEMPORALITY)),
    ),
    exponential_histogram=(
        10,
        message(
            "ExponentialHistogram",
            data_points=(1, _EXPONENTIAL_POINT, MANY),
            aggregation_temporality=(2, _TEMPORALITY),
        ),
    ),
    summary=(11, message("Summary", data_points=(1, _SUMMARY_POINT, MANY))),
)

_SCOPED = message("Scoped", items=(2, METRIC, MANY))
METRICS_REQUEST = message(
    "MetricsRequest",
    resources=(1, message("PerResource", resource=(1, UNROLLED_RESOURCE), scopes=(2, _SCOPED, MANY)), MANY),
)
