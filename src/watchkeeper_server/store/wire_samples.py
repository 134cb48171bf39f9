"""The shape of the batches of samples that the journal holds; `wire` explains how shapes are described.

`receive.sample_batch` writes them. Samples are columns: four lists of one length.
"""

from __future__ import annotations

from watchkeeper_server.store.wire import MANY, message

_LABEL = message("Label", name=(1, "string"), value=(2, "string"))
_SERIES = message(
    "Series",
    labels=(1, _LABEL, MANY),
    metric=(2, "string"),
    id=(3, "fixed64"),
    first_seen=(4, "sfixed64"),
    last_seen=(5, "sfixed64"),
)
_EXEMPLAR = message(
    "Exemplar",
    metric=(1, "string"),
    id=(2, "fixed64"),
    time=(3, "sfixed64"),
    value=(4, "double"),
    trace_id=(5, "bytes"),
    span_id=(6, "bytes"),
    labels=(7, _LABEL, MANY),
)
_HISTOGRAM = message(
    "Histogram",
    metric=(1, "string"),
    id=(2, "fixed64"),
    time=(3, "sfixed64"),
    count=(4, "double"),
    sum=(5, "double"),
    schema=(6, "sint32"),
    zero_threshold=(7, "double"),
    zero_count=(8, "double"),
    positive_offset=(9, "sint32"),
    positive_counts=(10, "double", MANY),
    negative_offset=(11, "sint32"),
    negative_counts=(12, "double", MANY),
    custom_values=(13, "double", MANY),
    counter_reset=(14, "uint32"),
)
_METADATA = message("Metadata", metric=(1, "string"), type=(2, "string"), unit=(3, "string"), help=(4, "string"))
SAMPLE_BATCH = message(
    "SampleBatch",
    metric=(1, "few strings", MANY),
    id=(2, "fixed64", MANY),
    time=(3, "sfixed64", MANY),
    value=(4, "double", MANY),
    series=(5, _SERIES, MANY),
    exemplars=(6, _EXEMPLAR, MANY),
    histograms=(7, _HISTOGRAM, MANY),
    metadata=(8, _METADATA, MANY),
)
