-- Prometheus series out of OTLP metrics: docs/decisions/0004-otlp-metrics-to-series.md says by which rules and why.

-- The id of a series, whoever writes it (`model.series` computes the same): a sum over its labels, so that their order
-- does not matter and a histogram's buckets share the work. `labels` is without `__name__`.
CREATE FUNCTION IF NOT EXISTS label_hash AS (name, value) -> halfMD5(concat(name, '\xFF', value));
CREATE FUNCTION IF NOT EXISTS labels_hash AS (names, values) -> arraySum(arrayMap((n, v) -> label_hash(n, v), names, values));
CREATE FUNCTION IF NOT EXISTS series_id AS (metric, labels) -> label_hash('__name__', metric) + labels_hash(mapKeys(labels), mapValues(labels));

-- The NaN that says a series has ended: https://github.com/prometheus/prometheus model/value.
CREATE FUNCTION IF NOT EXISTS stale_marker AS () -> reinterpretAsFloat64(toUInt64(0x7ff0000000000002));

-- Serialized protobuf. Points' attributes arrive as the bytes they were sent as, and each distinct set is decoded once a
-- segment: decoding them all would halve the rate. A field is a tag, its length in seven bits a byte, its bytes; the
-- length of the last field need not be read to know how many bytes it takes: 127 are the most that one can say, and so on.
CREATE FUNCTION IF NOT EXISTS pb_last AS field -> substring(field, 3 + (length(field) > 129) + (length(field) > 16386) + (length(field) > 2097155));
CREATE FUNCTION IF NOT EXISTS pb_byte AS (bytes, start) -> reinterpretAsUInt8(substring(bytes, start, 1));
CREATE FUNCTION IF NOT EXISTS pb_int AS bytes -> reinterpretAsInt64(arraySum(arrayMap(
    i -> bitShiftLeft(toUInt64(bitAnd(pb_byte(bytes, i + 1), 127)), 7 * i), range(toUInt8(least(10, length(bytes)))))));
-- An AnyValue as otlp_text (0001) writes it, but for arrays and maps: they stay protobuf, as in otlp_json.
CREATE FUNCTION IF NOT EXISTS pb_text AS (value, last) -> multiIf(
    startsWith(value, '\x0A'), last,
    startsWith(value, '\x18'), toString(pb_int(substring(value, 2))),
    startsWith(value, '\x10'), if(endsWith(value, '\0'), 'false', 'true'),
    startsWith(value, '\x21'), toString(reinterpretAsFloat64(substring(value, 2))),
    startsWith(value, '\x2A'), concat('{"$$array":"', base64Encode(last), '"}'),
    startsWith(value, '\x32'), concat('{"$$map":"', base64Encode(last), '"}'),
    base64Encode(last));

-- A name's words, joined by `_`; a unit's likewise, UCUM's as in Prometheus. '' for none.
CREATE FUNCTION IF NOT EXISTS words_of AS text -> replaceRegexpAll(replaceRegexpAll(text, '[^a-zA-Z0-9:]+', '_'), '^_|_$$', '');
CREATE FUNCTION IF NOT EXISTS main_unit AS unit -> if(match(unit, '[{}]'), '', words_of(transform(unit,
    ['d', 'h', 'min', 's', 'ms', 'us', 'ns', 'By', 'KiBy', 'MiBy', 'GiBy', 'TiBy', 'KBy', 'MBy', 'GBy', 'TBy',
     'm', 'V', 'A', 'J', 'W', 'g', 'Cel', 'Hz', '1', '%'],
    ['days', 'hours', 'minutes', 'seconds', 'milliseconds', 'microseconds', 'nanoseconds', 'bytes', 'kibibytes',
     'mebibytes', 'gibibytes', 'tibibytes', 'kilobytes', 'megabytes', 'gigabytes', 'terabytes',
     'meters', 'volts', 'amperes', 'joules', 'watts', 'grams', 'celsius', 'hertz', '', 'percent'],
    unit)));
CREATE FUNCTION IF NOT EXISTS per_unit AS unit -> if(match(unit, '[{}]'), '', words_of(transform(unit,
    ['s', 'm', 'h', 'd', 'w', 'mo', 'y'],
    ['second', 'minute', 'hour', 'day', 'week', 'month', 'year'],
    unit)));
-- Both, unless the name has the main one among its words.
CREATE FUNCTION IF NOT EXISTS with_unit AS (words, main, per) -> replaceRegexpOne(concat(words,
    if(main = '' OR position(concat('_', words, '_'), concat('_', main, '_')) > 0, '', concat('_', main)),
    if(per = '', '', concat('_per_', per))), '^_', '');
-- What the type asks for comes last, once.
CREATE FUNCTION IF NOT EXISTS with_total AS words -> replaceRegexpOne(concat(words_of(replaceRegexpAll(concat('_', words, '_'), '_(?:total_)+', '_')), '_total'), '^_', '');
CREATE FUNCTION IF NOT EXISTS with_ratio AS words -> replaceRegexpOne(concat(words_of(replaceRegexpAll(concat('_', words, '_'), '_(?:ratio_)+', '_')), '_ratio'), '^_', '');

CREATE FUNCTION IF NOT EXISTS label_name AS name -> replaceRegexpOne(replaceRegexpOne(
    replaceRegexpAll(name, '[^a-zA-Z0-9_]', '_'), '^([0-9])', 'key_\\1'), '^(_[^_]|_$$|$$)', 'key\\1');
-- Labels out of attributes, sorted by name. Attributes whose names become the same are joined by `;` in the order of
-- their keys. A label named in `reserved` gives way to ours; one without a value is no label.
CREATE FUNCTION IF NOT EXISTS labels_of AS (keys, names, texts, reserved) -> arrayFilter(
    label -> label.2 != '' AND NOT has(reserved, label.1) AND label.1 != '__name__',
    if(length(names) = length(arrayDistinct(names)), arraySort(arrayZip(names, texts)), arrayMap(
        name -> (name, arrayStringConcat(arrayMap(x -> x.3, arrayFilter(x -> x.2 = name, arraySort(arrayZip(keys, names, texts)))), ';')),
        arraySort(arrayDistinct(names)))));

-- A bound or quantile as Go's FormatFloat(x, 'f', -1) writes it: the shortest digits that tell it, never an exponent.
CREATE FUNCTION IF NOT EXISTS digits_of AS x -> replaceOne(extract(toString(x), '^-?([0-9.]+)'), '.', '');
CREATE FUNCTION IF NOT EXISTS exponent_of AS x -> toInt32OrZero(extract(toString(x), 'e(.*)'));
CREATE FUNCTION IF NOT EXISTS plain_number AS x -> multiIf(
    isInfinite(x), if(x > 0, '+Inf', '-Inf'),
    isNaN(x), 'NaN',
    position(toString(x), 'e') = 0, toString(x),
    concat(if(x < 0, '-', ''), if(exponent_of(x) < 0,
        concat('0.', repeat('0', -exponent_of(x) - 1), digits_of(x)),
        rightPad(digits_of(x), exponent_of(x) + 1, '0'))));

-- An exponential histogram's counts at a coarser scale: 2^down neighbours become one. Both in OTLP's numbering.
CREATE FUNCTION IF NOT EXISTS merged_counts AS (counts, offset, down) -> if(down = 0 OR empty(counts), counts, arrayMap(
    bucket -> arraySum(arraySlice(counts,
        1 + greatest(0, bucket * bitShiftLeft(toInt64(1), down) - offset),
        least(length(counts), (bucket + 1) * bitShiftLeft(toInt64(1), down) - offset) - greatest(0, bucket * bitShiftLeft(toInt64(1), down) - offset))),
    range(bitShiftRight(toInt64(offset), down), bitShiftRight(toInt64(offset) + length(counts) - 1, down) + 1)));

-- That a series exists, and from when to when, in steps of ten minutes: a series that lives is written six times an hour
-- and not with every segment, which would cost twice as much as its samples.
CREATE TABLE IF NOT EXISTS series (
    metric LowCardinality(String) CODEC(ZSTD(1)),
    id UInt64 CODEC(ZSTD(1)),
    labels Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    first_seen SimpleAggregateFunction(min, DateTime('UTC')) CODEC(ZSTD(1)),
    last_seen SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree ORDER BY (metric, id)
-- the labels follow from the id
SETTINGS allow_dimensions_outside_sorting_key = 1, $durable;

-- Of samples with the same id and time, the one of the highest segment counts, and of those of one segment the greatest; NaN,
-- and so the stale marker, is greater than any number.
CREATE TABLE IF NOT EXISTS samples (
    metric LowCardinality(String) CODEC(ZSTD(1)),
    id UInt64 CODEC(ZSTD(1)),
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    value Float64 CODEC(Delta, ZSTD(1)), -- counters, which most are: 1.36 B instead of 1.59
    segment UInt64 CODEC(Delta, ZSTD(1)),
    INDEX segment_range segment TYPE minmax GRANULARITY 64
) ENGINE = MergeTree
PARTITION BY if(toYear(time) < 2026, toStartOfYear(time), toDate(time))
ORDER BY (metric, id, time)
SETTINGS ttl_only_drop_parts = 1, $durable;

-- By family: a histogram's is the name its `_bucket` series begin with, a counter's ends in `_total`.
CREATE TABLE IF NOT EXISTS metric_metadata (
    metric LowCardinality(String) CODEC(ZSTD(1)),
    type Enum8(
        'unknown' = 0, 'counter' = 1, 'gauge' = 2, 'histogram' = 3, 'summary' = 4, 'info' = 5, 'gaugehistogram' = 6,
        'stateset' = 7) CODEC(ZSTD(1)),
    unit LowCardinality(String) CODEC(ZSTD(1)),
    help String CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree ORDER BY metric
SETTINGS $durable;

CREATE TABLE IF NOT EXISTS exemplars (
    metric LowCardinality(String) CODEC(ZSTD(1)),
    id UInt64 CODEC(ZSTD(1)),
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    value Float64 CODEC(ZSTD(1)),
    trace_id FixedString(16) CODEC(ZSTD(1)),
    span_id FixedString(8) CODEC(ZSTD(1)),
    labels Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    segment UInt64 CODEC(Delta, ZSTD(1)),
    INDEX segment_range segment TYPE minmax GRANULARITY 64
) ENGINE = MergeTree
PARTITION BY if(toYear(time) < 2026, toStartOfYear(time), toDate(time))
ORDER BY (metric, id, time)
SETTINGS ttl_only_drop_parts = 1, $durable;

-- Buckets in Prometheus' numbering: the n-th count is of (base^(offset + n - 2), base^(offset + n - 1)], n from 1, where
-- base is 2^(2^-schema); of negative observations likewise by their distance from zero. With schema -53 the buckets end
-- at `custom_values` instead: bucket `offset + n - 1`, from 0, at the one of that place, the last at infinity.
-- Counts are floats, as they are to PromQL; a histogram of integers loses nothing below 2^53. A stale marker is a `sum`.
CREATE TABLE IF NOT EXISTS native_histograms (
    metric LowCardinality(String) CODEC(ZSTD(1)),
    id UInt64 CODEC(ZSTD(1)),
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    count Float64 CODEC(ZSTD(1)),
    sum Float64 CODEC(ZSTD(1)),
    schema Int8 CODEC(ZSTD(1)),
    zero_threshold Float64 CODEC(ZSTD(1)),
    zero_count Float64 CODEC(ZSTD(1)),
    positive_offset Int32 CODEC(ZSTD(1)),
    positive_counts Array(Float64) CODEC(ZSTD(1)),
    negative_offset Int32 CODEC(ZSTD(1)),
    negative_counts Array(Float64) CODEC(ZSTD(1)),
    custom_values Array(Float64) CODEC(ZSTD(1)),
    -- what the sender knows of the counter since the sample before
    counter_reset Enum8('unknown' = 0, 'reset' = 1, 'none' = 2, 'gauge' = 3) CODEC(ZSTD(1)),
    min Nullable(Float64) CODEC(ZSTD(1)),
    max Nullable(Float64) CODEC(ZSTD(1)),
    -- counts since the previous point, not since the start
    delta Bool CODEC(ZSTD(1)),
    segment UInt64 CODEC(Delta, ZSTD(1)),
    INDEX segment_range segment TYPE minmax GRANULARITY 64
) ENGINE = MergeTree
PARTITION BY if(toYear(time) < 2026, toStartOfYear(time), toDate(time))
ORDER BY (metric, id, time)
SETTINGS ttl_only_drop_parts = 1, $durable;

-- A segment's points on their way in, one row each; the views below make of them what the tables above hold. The
-- `stored_days_…` are the partitions that an interrupted load of the same segment has stored already.
CREATE TABLE IF NOT EXISTS metrics_intake (
    family LowCardinality(String),
    type Enum8('counter' = 1, 'gauge' = 2, 'histogram' = 3, 'exponential_histogram' = 4, 'summary' = 5),
    unit LowCardinality(String),
    help LowCardinality(String),
    delta Bool,
    -- the labels that say whose point it is, '' for none, and their hash
    job LowCardinality(String),
    instance LowCardinality(String),
    target_hash UInt64,
    -- whatever else is known of that target: labels as JSON, and what tells them from another's; 0 for nothing
    target_info LowCardinality(String),
    target_set UInt64,
    -- the first point of its metric in a request speaks for the others where they all say the same
    first Bool,
    -- labels that attributes may not set, since we do: bits for job, instance, le, quantile
    reserved UInt8,
    attributes Array(String),
    attribute_set UInt64,
    time DateTime64(3, 'UTC'),
    -- a number's value; a histogram's or summary's count. These, `sum` and `values` are the stale marker where OTLP says
    -- that nothing was recorded.
    value Float64,
    sum Nullable(Float64),
    -- upper bounds and the counts up to them; quantiles and their values
    bounds Array(Float64),
    values Array(Float64),
    -- one for an exponential histogram, else none
    exponential Array(Tuple(
        count UInt64, scale Int32, zero_threshold Float64, zero_count UInt64,
        positive Tuple(offset Int32, bucket_counts Array(UInt64)), negative Tuple(offset Int32, bucket_counts Array(UInt64)),
        min Nullable(Float64), max Nullable(Float64))),
    exemplars Array(Tuple(
        time_unix_nano UInt64, as_double Float64, span_id String, trace_id String, as_int Int64,
        filtered_attributes Array(String))),
    segment UInt64,
    lineage Array(UInt64),
    stored_days_samples Array(Date),
    stored_days_exemplars Array(Date),
    stored_days_native_histograms Array(Date)
) ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS metrics_intake_to_metadata TO metric_metadata AS
SELECT * FROM (
    SELECT family AS metric, if(type = 'exponential_histogram', 'histogram', CAST(type AS String)) AS type, unit, help
    FROM metrics_intake WHERE first LIMIT 1 BY family
    UNION ALL
    SELECT 'target_info', 'info', '', 'What is known of a target besides its job and instance.'
    FROM metrics_intake WHERE first AND target_set != 0 LIMIT 1
)
WHERE (metric, type, unit, help) NOT IN (SELECT metric, CAST(type AS String), unit, help FROM metric_metadata);

-- The same points and those of `target_info`, followed by the labels that each set of attributes stands for: rows of their
-- own (`is_set`), with the set's hash in `labels_hash`. A point's `labels_hash` is that of its target alone.
CREATE TABLE IF NOT EXISTS points_intake (
    is_set Bool,
    set UInt64,
    set_labels Array(Tuple(String, String)),
    labels_hash UInt64,
    family LowCardinality(String),
    type Enum8('counter' = 1, 'gauge' = 2, 'histogram' = 3, 'exponential_histogram' = 4, 'summary' = 5),
    delta Bool,
    job LowCardinality(String),
    instance LowCardinality(String),
    time DateTime64(3, 'UTC'),
    value Float64,
    sum Nullable(Float64),
    bounds Array(Float64),
    values Array(Float64),
    exponential Array(Tuple(
        count UInt64, scale Int32, zero_threshold Float64, zero_count UInt64,
        positive Tuple(offset Int32, bucket_counts Array(UInt64)), negative Tuple(offset Int32, bucket_counts Array(UInt64)),
        min Nullable(Float64), max Nullable(Float64))),
    exemplars Array(Tuple(
        time_unix_nano UInt64, as_double Float64, span_id String, trace_id String, as_int Int64,
        filtered_attributes Array(String))),
    segment UInt64,
    lineage Array(UInt64),
    stored_days_samples Array(Date),
    stored_days_exemplars Array(Date),
    stored_days_native_histograms Array(Date)
) ENGINE = Null;

-- A KeyValue is its key, of fewer than 16,384 bytes, and then its value: no encoder writes it the other way round.
CREATE MATERIALIZED VIEW IF NOT EXISTS metrics_intake_to_points TO points_intake AS
SELECT * FROM (
    WITH
    serialized AS (
        SELECT set, reserved, attributes FROM (
            SELECT attribute_set AS set, reserved, attributes FROM metrics_intake LIMIT 1 BY set
            UNION ALL
            SELECT cityHash64(exemplar.filtered_attributes, 0) AS set, 0 AS reserved, exemplar.filtered_attributes AS attributes
            FROM metrics_intake ARRAY JOIN exemplars AS exemplar LIMIT 1 BY set
        )
        LIMIT 1 BY set -- a point and an exemplar may have the same attributes
    ),
    keys AS (
        SELECT set, reserved, pair, pb_byte(pair, 2) AS low, if(low > 127, pb_byte(pair, 3), 0) AS high
        FROM (
            -- an empty key is not sent at all
            SELECT set, reserved, if(startsWith(sent, '\x0A'), sent, concat('\x0A\0', sent)) AS pair
            FROM serialized LEFT ARRAY JOIN attributes AS sent
        )
    ),
    fields AS (
        SELECT
            set, reserved, substring(pair, if(low > 127, 4, 3), low % 128 + high * 128) AS key,
            pb_last(substring(pair, if(low > 127, 4, 3) + low % 128 + high * 128)) AS value
        FROM keys
    ),
    lasts AS (SELECT set, reserved, key, value, pb_last(value) AS last FROM fields),
    texts AS (SELECT set, reserved, key, label_name(key) AS name, pb_text(value, last) AS text FROM lasts),
    attributes AS (
        SELECT
            set, groupArray(key) AS keys, groupArray(name) AS names, groupArray(text) AS texts,
            arrayFilter((label, i) -> bitTest(any(reserved), i), ['job', 'instance', 'le', 'quantile'], [0, 1, 2, 3]) AS taken
        FROM texts GROUP BY set
    ),
    sets AS (
        SELECT set, labels_of(keys, names, texts, taken) AS labels FROM attributes
        UNION ALL
        SELECT target_set AS set, JSONExtract(target_info, 'Array(Tuple(String, String))') AS labels
        FROM metrics_intake WHERE first AND target_set != 0 LIMIT 1 BY set
    )
    SELECT
        false AS is_set, set, [] AS set_labels, target_hash AS labels_hash, family, type, delta, job, instance, time, value, sum, bounds, values,
        exponential, exemplars, segment, lineage, stored_days_samples, stored_days_exemplars, stored_days_native_histograms
    FROM (SELECT *, attribute_set AS set FROM metrics_intake)
    UNION ALL
    SELECT
        false, target_set, [], any(target_hash), 'target_info', 'gauge', false, any(job), any(instance), max(time), 1, NULL, [], [],
        [], [], any(segment), any(lineage), any(stored_days_samples), [], []
    FROM metrics_intake WHERE first AND target_set != 0
    GROUP BY target_set, toStartOfInterval(time, INTERVAL 15 SECOND)
    UNION ALL
    SELECT
        true, set, labels, labels_hash(labels.1, labels.2), '', 'gauge', false, '', '', toDateTime64(0, 3, 'UTC'), 0, NULL, [], [],
        [], [], 0, [], [], [], []
    FROM sets
);

-- An exemplar of a histogram belongs to the first bucket it fits in.
CREATE MATERIALIZED VIEW IF NOT EXISTS points_intake_to_exemplars TO exemplars AS
SELECT
    metric, label_hash('__name__', metric) + labels_hash + hash + if(type = 'histogram', label_hash('le', plain_number(bound)), 0) AS id,
    time, value, trace_id, span_id, CAST(set_labels AS Map(LowCardinality(String), String)) AS labels, segment
FROM (
    SELECT
        if(type = 'histogram', concat(family, '_bucket'), family) AS metric, type, labels_hash, set, segment, stored_days_exemplars,
        fromUnixTimestamp64Milli(toInt64(intDiv(exemplar.time_unix_nano, 1000000)), 'UTC') AS time,
        if(exemplar.as_int != 0, toFloat64(exemplar.as_int), exemplar.as_double) AS value,
        arrayFirst(bound -> value <= bound, bounds) AS bound,
        toFixedString(if(length(exemplar.trace_id) = 16, exemplar.trace_id, ''), 16) AS trace_id,
        toFixedString(if(length(exemplar.span_id) = 8, exemplar.span_id, ''), 8) AS span_id,
        cityHash64(exemplar.filtered_attributes, 0) AS filtered
    FROM points_intake ARRAY JOIN exemplars AS exemplar
) AS found
ANY LEFT JOIN (SELECT set, labels_hash AS hash FROM points_intake WHERE is_set) AS sets USING set
ANY LEFT JOIN (SELECT set AS filtered, set_labels FROM points_intake WHERE is_set) AS filtered_sets USING filtered
WHERE NOT has(stored_days_exemplars, toDate(time));

-- Prometheus knows no scale above 8; a coarser one loses nothing but detail. Its bucket n ends where OTLP's bucket n
-- begins, so its numbers are higher by one.
CREATE MATERIALIZED VIEW IF NOT EXISTS points_intake_to_native_histograms TO native_histograms AS
SELECT
    metric, label_hash('__name__', metric) + labels_hash + hash AS id, time, h.count AS count, sum, h.scale - down AS schema,
    if(h.zero_threshold > 0, h.zero_threshold, 1e-128) AS zero_threshold,
    h.zero_count AS zero_count,
    bitShiftRight(h.positive.offset, down) + 1 AS positive_offset,
    merged_counts(h.positive.bucket_counts, h.positive.offset, down) AS positive_counts,
    bitShiftRight(h.negative.offset, down) + 1 AS negative_offset,
    merged_counts(h.negative.bucket_counts, h.negative.offset, down) AS negative_counts,
    h.min AS min, h.max AS max, delta, segment
FROM (
    SELECT
        family AS metric, labels_hash, set, time, ifNull(sum, 0) AS sum, delta, segment, stored_days_native_histograms,
        h, greatest(h.scale - 8, 0) AS down
    FROM points_intake ARRAY JOIN exponential AS h
) AS found
ANY LEFT JOIN (SELECT set, labels_hash AS hash FROM points_intake WHERE is_set) AS sets USING set
WHERE NOT has(stored_days_native_histograms, toDate(time));

-- Samples by series, deltas still as they came; that there is a native histogram of a series; and the sets again. `own_name` and `own_value` are the label that tells a
-- bucket or quantile from its siblings, '' for none.
CREATE TABLE IF NOT EXISTS samples_intake (
    row Enum8('sample' = 1, 'native_histogram' = 2, 'set' = 3),
    set UInt64,
    set_labels Array(Tuple(String, String)),
    metric LowCardinality(String),
    id UInt64,
    time DateTime64(3, 'UTC'),
    value Float64,
    delta Bool,
    job LowCardinality(String),
    instance LowCardinality(String),
    own_name LowCardinality(String),
    own_value String,
    segment UInt64,
    lineage Array(UInt64),
    stored_days Array(Date)
) ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS points_intake_to_samples TO samples_intake AS
SELECT
    multiIf(is_set, 'set', native, 'native_histogram', 'sample') AS row, set, set_labels, metric,
    -- bounds are few: hashed once each, where they are the label that is most frequent
    label_hash('__name__', metric) + labels_hash + multiIf(
        own_name = '', 0, own_name = 'le', label_hash('le', toLowCardinality(own_value)), label_hash(own_name, own_value)) AS id,
    time, value, delta, job, instance, own_name, own_value, segment, lineage, stored_days_samples AS stored_days
FROM (
    WITH points AS (
        SELECT points_intake.* EXCEPT (labels_hash), labels_hash + hash AS labels_hash
        FROM points_intake ANY LEFT JOIN (SELECT set, labels_hash AS hash FROM points_intake WHERE is_set) AS sets USING set
        WHERE NOT is_set
    )
    SELECT family AS metric, '' AS own_name, '' AS own_value, value, false AS native, is_set, set, set_labels, labels_hash, time, delta, job, instance, segment, lineage, stored_days_samples
    FROM points WHERE type IN ('counter', 'gauge')
    UNION ALL
    SELECT concat(family, '_count'), '', '', value, false, is_set, set, set_labels, labels_hash, time, delta, job, instance, segment, lineage, stored_days_samples
    FROM points WHERE type IN ('histogram', 'summary')
    UNION ALL
    SELECT concat(family, '_sum'), '', '', assumeNotNull(sum), false, is_set, set, set_labels, labels_hash, time, delta, job, instance, segment, lineage, stored_days_samples
    FROM points WHERE type IN ('histogram', 'summary') AND sum IS NOT NULL
    UNION ALL
    SELECT
        if(type = 'histogram', concat(family, '_bucket'), family), if(type = 'histogram', 'le', 'quantile'), plain_number(bound), at_bound,
        false, is_set, set, set_labels, labels_hash, time, delta, job, instance, segment, lineage, stored_days_samples
    FROM points ARRAY JOIN bounds AS bound, values AS at_bound WHERE type IN ('histogram', 'summary')
    UNION ALL
    SELECT family, '', '', 0, true, is_set, set, set_labels, labels_hash, time, delta, job, instance, segment, lineage, stored_days_samples
    FROM points WHERE type = 'exponential_histogram'
    UNION ALL
    SELECT '', '', '', 0, false, is_set, set, set_labels, labels_hash, time, delta, job, instance, segment, lineage, stored_days_samples
    FROM points_intake WHERE is_set
);

CREATE MATERIALIZED VIEW IF NOT EXISTS samples_intake_to_samples TO samples AS
SELECT metric, id, time, value, segment FROM samples_intake
WHERE row = 'sample' AND NOT (SELECT max(delta) FROM samples_intake WHERE row = 'sample') AND NOT has(stored_days, toDate(time));

-- The samples of a segment with deltas among them: all, since one segment's must reach `samples` in one block.
CREATE TABLE IF NOT EXISTS deltas_intake (
    metric LowCardinality(String),
    id UInt64,
    time DateTime64(3, 'UTC'),
    value Float64,
    delta Bool,
    segment UInt64,
    lineage Array(UInt64),
    stored_days Array(Date)
) ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS samples_intake_to_deltas TO deltas_intake AS
SELECT metric, id, time, value, delta AND NOT isNaN(value) AS delta, segment, lineage, stored_days FROM samples_intake
WHERE row = 'sample' AND (SELECT max(delta) FROM samples_intake WHERE row = 'sample');

-- A delta says how much more; its series is the running total, which goes on from the last one stored by another segment.
-- One older than that counts at the time of the last one: at its own time it would look like a reset of the counter.
CREATE MATERIALIZED VIEW IF NOT EXISTS deltas_intake_to_samples TO samples AS
SELECT metric, id, time, value, segment
FROM (
    SELECT metric, id, time, value, segment, stored_days FROM deltas_intake WHERE NOT delta
    UNION ALL
    SELECT metric, id, time, total + sum(increase) OVER (PARTITION BY metric, id ORDER BY time), segment, stored_days
    FROM (
        SELECT
            metric, id, greatest(deltas.time, until) AS time, any(total) AS total, sum(value) AS increase,
            any(segment) AS segment, any(stored_days) AS stored_days
        FROM (SELECT metric, id, time, value, segment, stored_days FROM deltas_intake WHERE delta) AS deltas
        ANY LEFT JOIN (
            SELECT metric, id, argMax(value, (time, segment, value)) AS total, max(time) AS until
            FROM samples
            WHERE (metric, id) IN (SELECT metric, id FROM deltas_intake WHERE delta)
                AND time > (SELECT min(time) FROM deltas_intake) - INTERVAL 1 HOUR
                AND segment NOT IN (SELECT arrayJoin(any(lineage)) FROM deltas_intake)
                AND NOT isNaN(value)
            GROUP BY metric, id
        ) AS totals USING (metric, id)
        GROUP BY metric, id, time
    )
)
WHERE NOT has(stored_days, toDate(time));
