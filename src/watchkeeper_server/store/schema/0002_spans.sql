-- Resources repeat for every span and record of a process, so they are stored once and named by an id.
CREATE TABLE IF NOT EXISTS resources (
    id UInt64,
    service LowCardinality(String),
    attributes $attributes,
    attribute_types $types,
    dropped_attributes_count UInt32,
    schema_url String
) ENGINE = ReplacingMergeTree ORDER BY id
SETTINGS $durable;

-- What a segment's spans look like on their way in; views carry them to the tables below.
-- `stored` marks rows that an interrupted load of the same segment has stored already.
CREATE TABLE IF NOT EXISTS spans (
    time DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    duration_ns Int64 CODEC(ZSTD(1)),
    trace_id FixedString(16) CODEC(ZSTD(1)),
    span_id FixedString(8) CODEC(ZSTD(1)),
    parent_span_id FixedString(8) CODEC(ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    name LowCardinality(String) CODEC(ZSTD(1)),
    kind Int8 CODEC(ZSTD(1)),
    status_code Int8 CODEC(ZSTD(1)),
    status_message String CODEC(ZSTD(1)),
    trace_state String CODEC(ZSTD(1)),
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
    dropped_events_count UInt32 CODEC(ZSTD(1)),
    dropped_links_count UInt32 CODEC(ZSTD(1)),
    `events.time` Array(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    `events.name` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `events.attributes` Array($attributes) CODEC(ZSTD(1)),
    `events.attribute_types` Array($types) CODEC(ZSTD(1)),
    `events.dropped_attributes_count` Array(UInt32) CODEC(ZSTD(1)),
    `links.trace_id` Array(String) CODEC(ZSTD(1)),
    `links.span_id` Array(String) CODEC(ZSTD(1)),
    `links.trace_state` Array(String) CODEC(ZSTD(1)),
    `links.flags` Array(UInt32) CODEC(ZSTD(1)),
    `links.attributes` Array($attributes) CODEC(ZSTD(1)),
    `links.attribute_types` Array($types) CODEC(ZSTD(1)),
    `links.dropped_attributes_count` Array(UInt32) CODEC(ZSTD(1)),
    segment UInt64 CODEC(Delta, ZSTD(1)),
    INDEX trace_id_bloom trace_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX segment_range segment TYPE minmax GRANULARITY 256
) ENGINE = MergeTree
-- by day, as retention drops it; a backfill from before this program by year, lest it become thousands of parts
PARTITION BY if(toYear(time) < 2026, toStartOfYear(time), toDate(time))
ORDER BY (toStartOfFiveMinutes(time), service, name, time)
-- small pieces: a trace's few spans lie in as many places of every column, each of which is decompressed whole
SETTINGS index_granularity = 2048, min_compress_block_size = 16384, ttl_only_drop_parts = 1, $durable;

CREATE TABLE IF NOT EXISTS spans_intake AS spans ENGINE = Null;
ALTER TABLE spans_intake ADD COLUMN IF NOT EXISTS stored UInt8;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_intake_to_spans TO spans AS
SELECT * EXCEPT (stored) FROM spans_intake WHERE NOT stored;

-- Where to look for a trace: the time its spans cover, by the second half of its id (the first is 0 in 64-bit ids).
CREATE TABLE IF NOT EXISTS traces (
    trace_key UInt64,
    first SimpleAggregateFunction(min, DateTime('UTC')) CODEC(Delta, ZSTD(1)),
    last SimpleAggregateFunction(max, DateTime('UTC')) CODEC(Delta, ZSTD(1))
) ENGINE = AggregatingMergeTree
PARTITION BY if(toYear(first) < 2026, toStartOfYear(first), toDate(first))
ORDER BY trace_key
SETTINGS ttl_only_drop_parts = 1, $durable;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_intake_to_traces TO traces AS
SELECT reinterpretAsUInt64(reverse(substring(trace_id, 9, 8))) AS trace_key, min(toDateTime(time)) AS first, max(toDateTime(time)) AS last
FROM spans_intake GROUP BY trace_key;
