"""Prometheus' protobuf messages, made from their descriptions here, so that upb decodes them without generated code.

Those of remote write 2.0 end in `V2`. A whole request is decoded no further than `Envelope`, whose parts are the bytes
they were sent as. `SampleBatch` is ours: what the journal holds, as `store.wire_samples` reads it; its columns and
series are written by hand (`sample_batch`).

Sources: https://github.com/prometheus/prometheus prompb/types.proto, prompb/remote.proto,
prompb/io/prometheus/write/v2/types.proto. Field numbers never change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

MANY = "many"
_Field = tuple[int, str] | tuple[int, str, str]
_Messages = dict[str, Mapping[str, _Field]]

_HISTOGRAM: Mapping[str, _Field] = {
    "count_int": (1, "uint64"),
    "count_float": (2, "double"),
    "sum": (3, "double"),
    "schema": (4, "sint32"),
    "zero_threshold": (5, "double"),
    "zero_count_int": (6, "uint64"),
    "zero_count_float": (7, "double"),
    "negative_spans": (8, "BucketSpan", MANY),
    "negative_deltas": (9, "sint64", MANY),
    "negative_counts": (10, "double", MANY),
    "positive_spans": (11, "BucketSpan", MANY),
    "positive_deltas": (12, "sint64", MANY),
    "positive_counts": (13, "double", MANY),
    "reset_hint": (14, "int32"),
    "timestamp": (15, "int64"),
    "custom_values": (16, "double", MANY),
}
_SHARED: _Messages = {
    "Sample": {"value": (1, "double"), "timestamp": (2, "int64")},
    "BucketSpan": {"offset": (1, "sint32"), "length": (2, "uint32")},
    "Histogram": _HISTOGRAM,
}
_V1: _Messages = {
    "Label": {"name": (1, "string"), "value": (2, "string")},
    "Exemplar": {"labels": (1, "Label", MANY), "value": (2, "double"), "timestamp": (3, "int64")},
    "TimeSeries": {
        "labels": (1, "Label", MANY),
        "samples": (2, "Sample", MANY),
        "exemplars": (3, "Exemplar", MANY),
        "histograms": (4, "Histogram", MANY),
    },
    "MetricMetadata": {
        "type": (1, "int32"),
        "metric_family_name": (2, "string"),
        "help": (4, "string"),
        "unit": (5, "string"),
    },
    "WriteRequest": {"timeseries": (1, "TimeSeries", MANY), "metadata": (3, "MetricMetadata", MANY)},
    "Envelope": {"timeseries": (1, "bytes", MANY), "metadata": (3, "bytes", MANY)},
}
_V2: _Messages = {
    "Exemplar": {"labels_refs": (1, "uint32", MANY), "value": (2, "double"), "timestamp": (3, "int64")},
    "Metadata": {"type": (1, "int32"), "help_ref": (3, "uint32"), "unit_ref": (4, "uint32")},
    "TimeSeries": {
        "labels_refs": (1, "uint32", MANY),
        "samples": (2, "Sample", MANY),
        "histograms": (3, "Histogram", MANY),
        "exemplars": (4, "Exemplar", MANY),
        "metadata": (5, "Metadata"),
    },
    "Request": {"symbols": (4, "string", MANY), "timeseries": (5, "TimeSeries", MANY)},
    "Envelope": {"symbols": (4, "string", MANY), "timeseries": (5, "bytes", MANY)},
}
_BATCH: _Messages = {
    "Label": {"name": (1, "string"), "value": (2, "string")},
    "Exemplar": {
        "metric": (1, "string"),
        "id": (2, "fixed64"),
        "time": (3, "sfixed64"),
        "value": (4, "double"),
        "trace_id": (5, "bytes"),
        "span_id": (6, "bytes"),
        "labels": (7, "Label", MANY),
    },
    "Histogram": {
        "metric": (1, "string"),
        "id": (2, "fixed64"),
        "time": (3, "sfixed64"),
        "count": (4, "double"),
        "sum": (5, "double"),
        "schema": (6, "sint32"),
        "zero_threshold": (7, "double"),
        "zero_count": (8, "double"),
        "positive_offset": (9, "sint32"),
        "positive_counts": (10, "double", MANY),
        "negative_offset": (11, "sint32"),
        "negative_counts": (12, "double", MANY),
        "custom_values": (13, "double", MANY),
        "counter_reset": (14, "uint32"),
    },
    "Metadata": {"metric": (1, "string"), "type": (2, "string"), "unit": (3, "string"), "help": (4, "string")},
    "Series": {
        "labels": (1, "Label", MANY),
        "metric": (2, "string"),
        "id": (3, "fixed64"),
        "first_seen": (4, "sfixed64"),
        "last_seen": (5, "sfixed64"),
    },
    "SampleBatch": {
        "metric": (1, "string", MANY),
        "id": (2, "fixed64", MANY),
        "time": (3, "sfixed64", MANY),
        "value": (4, "double", MANY),
        "series": (5, "Series", MANY),
        "exemplars": (6, "Exemplar", MANY),
        "histograms": (7, "Histogram", MANY),
        "metadata": (8, "Metadata", MANY),
    },
}


def _classes(package: str, messages: _Messages) -> dict[str, type[Message]]:
    """A class for each message; a type that is not one of protobuf's own is a message of the same package."""
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for message, fields in messages.items():
        described = file.message_type.add(name=message)
        for name, (number, kind, *many) in fields.items():
            field: Any = described.field.add(name=name, number=number)
            field.label = FieldDescriptorProto.LABEL_REPEATED if many else FieldDescriptorProto.LABEL_OPTIONAL
            if kind in messages:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = getattr(FieldDescriptorProto, f"TYPE_{kind.upper()}")
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}


_v1 = _classes("prometheus", _SHARED | _V1)
_v2 = _classes("io.prometheus.write.v2", _SHARED | _V2)
_batch = _classes("watchkeeper", _BATCH)
_otlp = _classes("watchkeeper.otlp", {"Nested": {f"f{n}": (n, "bytes", MANY) for n in (1, 2, 5, 7, 9, 10, 11)}})

# What is generated at run time has no static type.
Label: Any = _v1["Label"]
TimeSeries: Any = _v1["TimeSeries"]
WriteRequest: Any = _v1["WriteRequest"]
Envelope: Any = _v1["Envelope"]
MetricMetadata: Any = _v1["MetricMetadata"]
RequestV2: Any = _v2["Request"]
TimeSeriesV2: Any = _v2["TimeSeries"]
MetadataV2: Any = _v2["Metadata"]
EnvelopeV2: Any = _v2["Envelope"]
SampleBatch: Any = _batch["SampleBatch"]
# Any message with what is in these fields left as bytes, fields of other types left out
Nested: Any = _otlp["Nested"]
