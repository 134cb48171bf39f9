"""The messages of Prometheus' protobuf exposition, `io.prometheus.client`, declared in the runtime.

Labels are declared as the bytes they are: what was there before is found by these bytes, without decoding them.
`OpenedFamily` is a `MetricFamily` whose metrics are left as bytes.
Field numbers: https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "watchkeeper.exposition"
_SCALARS = ("double", "int64", "uint64", "int32", "string", "bytes", "uint32", "sint32", "sint64")
# message → (field number, name, type); "*" after a type repeats it
_MESSAGES: dict[str, tuple[tuple[int, str, str], ...]] = {
    "LabelPair": ((1, "name", "string"), (2, "value", "string")),
    "Timestamp": ((1, "seconds", "int64"), (2, "nanos", "int32")),
    "Exemplar": ((1, "label", "LabelPair*"), (2, "value", "double"), (3, "timestamp", "Timestamp")),
    "Number": ((1, "value", "double"), (2, "exemplar", "Exemplar")),
    "Quantile": ((1, "quantile", "double"), (2, "value", "double")),
    "Summary": ((1, "sample_count", "uint64"), (2, "sample_sum", "double"), (3, "quantile", "Quantile*")),
    "Bucket": (
        (1, "cumulative_count", "uint64"),
        (2, "upper_bound", "double"),
        (3, "exemplar", "Exemplar"),
        (4, "cumulative_count_float", "double"),
    ),
    "BucketSpan": ((1, "offset", "sint32"), (2, "length", "uint32")),
    "Histogram": (
        (1, "sample_count", "uint64"),
        (2, "sample_sum", "double"),
        (3, "bucket", "Bucket*"),
        (4, "sample_count_float", "double"),
        (5, "schema", "sint32"),
        (6, "zero_threshold", "double"),
        (7, "zero_count", "uint64"),
        (8, "zero_count_float", "double"),
        (9, "negative_span", "BucketSpan*"),
        (10, "negative_delta", "sint64*"),
        (11, "negative_count", "double*"),
        (12, "positive_span", "BucketSpan*"),
        (13, "positive_delta", "sint64*"),
        (14, "positive_count", "double*"),
        (16, "exemplars", "Exemplar*"),
    ),
    "Metric": (
        (1, "label", "bytes*"),
        (2, "gauge", "Number"),
        (3, "counter", "Number"),
        (4, "summary", "Summary"),
        (5, "untyped", "Number"),
        (6, "timestamp_ms", "int64"),
        (7, "histogram", "Histogram"),
    ),
    "MetricFamily": (
        (1, "name", "string"),
        (2, "help", "string"),
        (3, "type", "int32"),
        (4, "metric", "Metric*"),
        (5, "unit", "string"),
    ),
    "OpenedFamily": ((4, "metric", "bytes*"),),
}


def _classes() -> dict[str, Any]:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="watchkeeper/exposition.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for number, name, kind in fields:
            scalar = kind.rstrip("*")
            declared.field.add(
                number=number,
                name=name,
                label=field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL,
                type=field.Type.Value(f"TYPE_{scalar.upper()}") if scalar in _SCALARS else field.TYPE_MESSAGE,
                type_name=None if scalar in _SCALARS else f".{_PACKAGE}.{scalar}",
            )
    return dict(message_factory.GetMessages([file], descriptor_pool.DescriptorPool()))


_CLASSES = _classes()
MetricFamily = _CLASSES[f"{_PACKAGE}.MetricFamily"]
LabelPair = _CLASSES[f"{_PACKAGE}.LabelPair"]
OpenedFamily = _CLASSES[f"{_PACKAGE}.OpenedFamily"]
