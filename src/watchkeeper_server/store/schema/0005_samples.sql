-- Samples whose series have ids already: docs/decisions/0007-remote-write.md says who gives them and why.

-- Batches on their way in, one row each; the views below take them apart. Samples are the columns `metric` to `value`.
-- The `stored_days_…` are the partitions that an interrupted load of the same segment has stored already.
CREATE TABLE IF NOT EXISTS sample_batches_intake (
    metric Array(LowCardinality(String)),
    id Array(UInt64),
    time Array(Int64),
    value Array(Float64),
    series Array(Tuple(
        labels Array(Tuple(name String, value String)), metric String, id UInt64, first_seen Int64, last_seen Int64)),
    exemplars Array(Tuple(
        metric String, id UInt64, time Int64, value Float64, trace_id String, span_id String,
        labels Array(Tuple(name String, value String)))),
    histograms Array(Tuple(
        metric String, id UInt64, time Int64, count Float64, sum Float64, schema Int32, zero_threshold Float64, zero_count Float64,
        positive_offset Int32, positive_counts Array(Float64), negative_offset Int32, negative_counts Array(Float64),
        custom_values Array(Float64), counter_reset UInt32)),
    metadata Array(Tuple(metric String, type String, unit String, help String)),
    segment UInt64,
    stored_days_samples Array(Date),
    stored_days_exemplars Array(Date),
    stored_days_native_histograms Array(Date)
) ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS sample_batches_intake_to_samples TO samples AS
SELECT a_metric AS metric, an_id AS id, fromUnixTimestamp64Milli(ms, 'UTC') AS time, a_value AS value, segment
FROM (
    SELECT metric AS a_metric, id AS an_id, time AS ms, value AS a_value, segment, stored_days_samples FROM sample_batches_intake
)
ARRAY JOIN a_metric, an_id, ms, a_value
WHERE NOT has(stored_days_samples, toDate(time));

CREATE MATERIALIZED VIEW IF NOT EXISTS sample_batches_intake_to_series TO series AS
SELECT
    s.metric AS metric, s.id AS id, toDateTime(s.first_seen, 'UTC') AS first_seen, toDateTime(s.last_seen, 'UTC') AS last_seen,
    CAST(arraySort(arrayFilter(label -> label.2 != '' AND label.1 != '__name__', s.labels)) AS Map(LowCardinality(String), String)) AS labels
FROM sample_batches_intake ARRAY JOIN series AS s;

CREATE MATERIALIZED VIEW IF NOT EXISTS sample_batches_intake_to_exemplars TO exemplars AS
SELECT
    e.metric AS metric, e.id AS id, fromUnixTimestamp64Milli(e.time, 'UTC') AS time, e.value AS value,
    toFixedString(e.trace_id, 16) AS trace_id, toFixedString(e.span_id, 8) AS span_id,
    CAST(e.labels AS Map(LowCardinality(String), String)) AS labels, segment
FROM sample_batches_intake ARRAY JOIN exemplars AS e
WHERE NOT has(stored_days_exemplars, toDate(time));

CREATE MATERIALIZED VIEW IF NOT EXISTS sample_batches_intake_to_native_histograms TO native_histograms AS
SELECT
    h.metric AS metric, h.id AS id, fromUnixTimestamp64Milli(h.time, 'UTC') AS time, h.count AS count, h.sum AS sum,
    h.schema AS schema, h.zero_threshold AS zero_threshold, h.zero_count AS zero_count,
    h.positive_offset AS positive_offset, h.positive_counts AS positive_counts,
    h.negative_offset AS negative_offset, h.negative_counts AS negative_counts,
    h.custom_values AS custom_values, h.counter_reset AS counter_reset, segment
FROM sample_batches_intake ARRAY JOIN histograms AS h
WHERE NOT has(stored_days_native_histograms, toDate(time));

CREATE MATERIALIZED VIEW IF NOT EXISTS sample_batches_intake_to_metadata TO metric_metadata AS
SELECT m.metric AS metric, m.type AS type, m.unit AS unit, m.help AS help
FROM sample_batches_intake ARRAY JOIN metadata AS m;
