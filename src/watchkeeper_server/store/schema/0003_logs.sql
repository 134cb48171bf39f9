CREATE TABLE IF NOT EXISTS logs (
    time DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    observed_time DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    severity_number UInt8 CODEC(ZSTD(1)),
    severity_text LowCardinality(String) CODEC(ZSTD(1)),
    body String CODEC(ZSTD(1)),
    body_type Enum8('absent' = 0, 'string' = 1, 'bool' = 2, 'int' = 3, 'double' = 4, 'array' = 5, 'map' = 6, 'bytes' = 7) CODEC(ZSTD(1)),
    event_name LowCardinality(String) CODEC(ZSTD(1)),
    trace_id FixedString(16) CODEC(ZSTD(1)),
    span_id FixedString(8) CODEC(ZSTD(1)),
    flags UInt32 CODEC(ZSTD(1)),
    resource UInt64 CODEC(ZSTD(1)),
    scope_name LowCardinality(String) CODEC(ZSTD(1)),
    scope_version LowCardinality(String) CODEC(ZSTD(1)),
    scope_attributes $attributes CODEC(ZSTD(1)),
    scope_attribute_types $types CODEC(ZSTD(1)),
    scope_dropped_attributes_count UInt32 CODEC(ZSTD(1)),
    scope_schema_url LowCardinality(String) CODEC(ZSTD(1)),
    attributes $attributes CODEC(ZSTD(1)),
    attribute_types $types CODEC(ZSTD(1)),
    dropped_attributes_count UInt32 CODEC(ZSTD(1)),
    segment UInt64 CODEC(Delta, ZSTD(1)),
    INDEX words lower(body) TYPE text(tokenizer = 'splitByNonAlpha'),
    INDEX trace_id_bloom trace_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX segment_range segment TYPE minmax GRANULARITY 64
) ENGINE = MergeTree
PARTITION BY if(toYear(time) < 2026, toStartOfYear(time), toDate(time))
ORDER BY (toStartOfFiveMinutes(time), service, time)
SETTINGS ttl_only_drop_parts = 1, $durable;

CREATE TABLE IF NOT EXISTS logs_intake AS logs ENGINE = Null;
ALTER TABLE logs_intake ADD COLUMN IF NOT EXISTS stored UInt8;

CREATE MATERIALIZED VIEW IF NOT EXISTS logs_intake_to_logs TO logs AS
SELECT * EXCEPT (stored) FROM logs_intake WHERE NOT stored;
