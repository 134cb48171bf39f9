-- Prometheus series out of OTLP metrics: docs/decisions/0004-otlp-metrics-to-series.md says by which rules and why.

-- The id of a series, whoever writes it. A sum, so that the order of labels does not matter and a histogram's buckets
-- share the work. `labels` is without `__name__`.
CREATE FUNCTION IF NOT EXISTS labels_hash AS (names, values) -> arraySum(arrayMap((n, v) -> cityHash64(n, v), names, values));
CREATE FUNCTION IF NOT EXISTS series_id AS (metric, labels) -> cityHash64(metric, labels_hash(mapKeys(labels), mapValues(labels)));

-- The NaN that says a series has ended: https://github.com/prometheus/prometheus model/value.
CREATE FUNCTION IF NOT EXISTS stale_marker AS () -> reinterpretAsFloat64(toUInt64(0x7ff0000000000002));

-- Serialized protobuf. Points' attributes arrive as the bytes they were sent as, and each distinct set is decoded once a
-- segment: decoding them all would halve the rate. A length is written in seven bits a byte; these functions take the four bytes
-- that may hold one, since a payload is far below 268 MB.
CREATE FUNCTION IF NOT EXISTS pb_word AS (bytes, start) -> reinterpretAsUInt32(substring(bytes, start, 4));
CREATE FUNCTION IF NOT EXISTS pb_width AS word -> 1 + bitTest(word, 7) + bitTestAll(word, 7, 15) + bitTestAll(word, 7, 15, 23);
CREATE FUNCTION IF NOT EXISTS pb_length AS word -> bitAnd(word, 0x7F)
    + bitTest(word, 7) * bitAnd(bitShiftRight(word, 1), 0x3F80)
    + bitTestAll(word, 7, 15) * bitAnd(bitShiftRight(word, 2), 0x1FC000)
    + bitTestAll(word, 7, 15, 23) * bitAnd(bitShiftRight(word, 3), 0xFE00000);
-- What follows the tag and the length of the one field that `field` is.
CREATE FUNCTION IF NOT EXISTS pb_content AS field -> substring(field, 2 + pb_width(pb_word(field, 2)));
-- The fields of a message that has nothing but messages: ArrayValue, KeyValueList. None takes fewer than two bytes.
CREATE FUNCTION IF NOT EXISTS pb_starts AS message -> arrayFold(
    (starts, i) -> if(starts[-1] > length(message), starts, arrayPushBack(starts, toUInt64(starts[-1] + 1
        + pb_width(pb_word(message, starts[-1] + 1)) + pb_length(pb_word(message, starts[-1] + 1))))),
    range(intDiv(length(message), 2)), [toUInt64(1)]);
CREATE FUNCTION IF NOT EXISTS pb_fields AS message -> arrayMap(
    (start, next) -> substring(message, start, next - start),
    arrayPopBack(pb_starts(message)), arrayPopFront(pb_starts(message)));
CREATE FUNCTION IF NOT EXISTS pb_int AS bytes -> reinterpretAsInt64(arraySum(arrayMap(
    i -> bitShiftLeft(toUInt64(bitAnd(reinterpretAsUInt8(substring(bytes, i + 1, 1)), 127)), 7 * i),
    range(toUInt8(least(10, length(bytes)))))));
-- An AnyValue that holds no others, as otlp_text (0001) writes it.
CREATE FUNCTION IF NOT EXISTS pb_scalar AS value -> multiIf(
    startsWith(value, '\x0A'), pb_content(value),
    startsWith(value, '\x10'), if(value = '\x10\0', 'false', 'true'),
    startsWith(value, '\x18'), toString(pb_int(substring(value, 2))),
    startsWith(value, '\x21'), toString(reinterpretAsFloat64(substring(value, 2, 8))),
    startsWith(value, '\x3A'), base64Encode(pb_content(value)),
    '');
-- The same inside an array or a map, as otlp_json writes it; `text` is its pb_scalar.
CREATE FUNCTION IF NOT EXISTS pb_json AS (value, text) -> multiIf(
    value = '', 'null',
    startsWith(value, '\x0A'), toJSONString(text),
    startsWith(value, '\x21') AND text IN ('nan', 'inf', '-inf'), concat('{"$$double":"', text, '"}'),
    startsWith(value, '\x21') AND NOT match(text, '[.e]'), concat(text, '.0'),
    startsWith(value, '\x3A'), concat('{"$$bytes":"', text, '"}'),
    startsWith(value, '\x2A'), concat('{"$$array":"', base64Encode(pb_content(value)), '"}'),
    startsWith(value, '\x32'), concat('{"$$map":"', base64Encode(pb_content(value)), '"}'),
    text);

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
CREATE FUNCTION IF NOT EXISTS with_total AS words -> concat(words_of(replaceRegexpAll(concat('_', words, '_'), '_(?:total_)+', '_')), '_total');
CREATE FUNCTION IF NOT EXISTS with_ratio AS words -> concat(words_of(replaceRegexpAll(concat('_', words, '_'), '_(?:ratio_)+', '_')), '_ratio');

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
        1 + greatest(0, bucket * bitShiftLeft(1, down) - offset),
        least(length(counts), (bucket + 1) * bitShiftLeft(1, down) - offset) - greatest(0, bucket * bitShiftLeft(1, down) - offset))),
    range(bitShiftRight(toInt64(offset), down), bitShiftRight(toInt64(offset) + length(counts) - 1, down) + 1)));

-- One row for all time: that a series exists, and when. A segment repeats it for each series it has samples of.
CREATE TABLE series (
    metric LowCardinality(String) CODEC(ZSTD(1)),
    id UInt64 CODEC(ZSTD(1)),
    labels Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    first_seen SimpleAggregateFunction(min, DateTime('UTC')) CODEC(ZSTD(1)),
    last_seen SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree ORDER BY (metric, id)
-- the labels follow from the id
SETTINGS allow_dimensions_outside_sorting_key = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- Of samples with the same id and time, the one of the highest segment counts.
CREATE TABLE samples (
    metric LowCardinality(String) CODEC(ZSTD(1)),
    id UInt64 CODEC(ZSTD(1)),
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    value Float64 CODEC(ZSTD(1)),
    segment UInt64 CODEC(Delta, ZSTD(1)),
    INDEX segment_range segment TYPE minmax GRANULARITY 64
) ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (metric, id, time)
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- By family: a histogram's is the name its `_bucket` series begin with, a counter's ends in `_total`.
CREATE TABLE metric_metadata (
    metric LowCardinality(String) CODEC(ZSTD(1)),
    type Enum8('unknown' = 0, 'counter' = 1, 'gauge' = 2, 'histogram' = 3, 'summary' = 4, 'info' = 5) CODEC(ZSTD(1)),
    unit LowCardinality(String) CODEC(ZSTD(1)),
    help String CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree ORDER BY metric
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE exemplars (
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
PARTITION BY toDate(time)
ORDER BY (metric, id, time)
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- Buckets in Prometheus' numbering: the n-th count is of (base^(offset + n - 2), base^(offset + n - 1)], n from 1, where
-- base is 2^(2^-schema); of negative observations likewise by their distance from zero.
CREATE TABLE native_histograms (
    metric LowCardinality(String) CODEC(ZSTD(1)),
    id UInt64 CODEC(ZSTD(1)),
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    count UInt64 CODEC(ZSTD(1)),
    sum Float64 CODEC(ZSTD(1)),
    schema Int8 CODEC(ZSTD(1)),
    zero_threshold Float64 CODEC(ZSTD(1)),
    zero_count UInt64 CODEC(ZSTD(1)),
    positive_offset Int32 CODEC(ZSTD(1)),
    positive_counts Array(UInt64) CODEC(ZSTD(1)),
    negative_offset Int32 CODEC(ZSTD(1)),
    negative_counts Array(UInt64) CODEC(ZSTD(1)),
    min Nullable(Float64) CODEC(ZSTD(1)),
    max Nullable(Float64) CODEC(ZSTD(1)),
    -- counts since the previous point, not since the start
    delta Bool CODEC(ZSTD(1)),
    segment UInt64 CODEC(Delta, ZSTD(1)),
    INDEX segment_range segment TYPE minmax GRANULARITY 64
) ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (metric, id, time)
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- A segment's points on their way in, one row each; the views below make of them what the tables above hold. The
-- `stored_days_…` are the partitions that an interrupted load of the same segment has stored already.
CREATE TABLE metrics_intake (
    family LowCardinality(String),
    type Enum8('counter' = 1, 'gauge' = 2, 'histogram' = 3, 'exponential_histogram' = 4, 'summary' = 5),
    unit LowCardinality(String),
    help LowCardinality(String),
    delta Bool,
    -- the labels that say whose point it is, '' for none, their hash, and whatever else is known of that target, as JSON
    job LowCardinality(String),
    instance LowCardinality(String),
    target_hash UInt64,
    target_info LowCardinality(String),
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

CREATE MATERIALIZED VIEW metrics_intake_to_metadata TO metric_metadata AS
SELECT * FROM (
    SELECT family AS metric, if(type = 'exponential_histogram', 'histogram', CAST(type AS String)) AS type, unit, help
    FROM metrics_intake LIMIT 1 BY family
    UNION ALL
    SELECT 'target_info', 'info', '', 'What is known of a target besides its job and instance.'
    FROM metrics_intake WHERE target_info != '' LIMIT 1
);

-- The same points and those of `target_info`, followed by the labels that each set of attributes stands for: rows of their
-- own (`is_set`), with the set's hash in `labels_hash`. A point's `labels_hash` is that of its target alone.
CREATE TABLE points_intake (
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

-- A KeyValue's two fields may come in either order; each is a tag, a length and bytes.
CREATE MATERIALIZED VIEW metrics_intake_to_points TO points_intake AS
SELECT * FROM (
    WITH
    serialized AS (
        SELECT attribute_set AS set, reserved, attributes FROM metrics_intake LIMIT 1 BY set
        UNION ALL
        SELECT cityHash64(exemplar.filtered_attributes, 0) AS set, 0 AS reserved, exemplar.filtered_attributes AS attributes
        FROM metrics_intake ARRAY JOIN exemplars AS exemplar LIMIT 1 BY set
    ),
    starts AS (
        SELECT set, reserved, pair, 2 + pb_width(pb_word(pair, 2)) AS start, pb_length(pb_word(pair, 2)) AS size
        FROM serialized LEFT ARRAY JOIN attributes AS pair
    ),
    fields AS (
        SELECT set, reserved, startsWith(pair, '\x0A') AS key_first, substring(pair, start, size) AS first, pb_content(substring(pair, start + size)) AS second
        FROM starts
    ),
    pairs AS (SELECT set, reserved, if(key_first, first, second) AS key, if(key_first, second, first) AS value FROM fields),
    -- arrays and maps hold elements; `inner` is where a map's element keeps its value
    elements AS (
        SELECT
            set, reserved, key, value,
            if(startsWith(value, '\x2A') OR startsWith(value, '\x32'), arrayMap(x -> pb_content(x), pb_fields(pb_content(value))), []) AS elements,
            arrayMap(x -> toUInt32(2 + pb_width(pb_word(x, 2)) + pb_length(pb_word(x, 2))), elements) AS inner
        FROM pairs
    ),
    texts AS (
        SELECT set, reserved, key, label_name(key) AS name, multiIf(
            startsWith(value, '\x2A'), concat('[', arrayStringConcat(arrayMap(x -> pb_json(x, pb_scalar(x)), elements), ','), ']'),
            startsWith(value, '\x32'), concat('{', arrayStringConcat(arrayMap(
                (k, x) -> concat(toJSONString(k), ':', pb_json(x, pb_scalar(x))),
                arrayMap((x, i) -> pb_content(substring(x, 1, i - 1)), elements, inner),
                arrayMap((x, i) -> pb_content(substring(x, i)), elements, inner)), ','), '}'),
            pb_scalar(value)) AS text
        FROM elements
    ),
    attributes AS (
        SELECT
            set, groupArray(key) AS keys, groupArray(name) AS names, groupArray(text) AS texts,
            arrayFilter((label, i) -> bitTest(any(reserved), i), ['job', 'instance', 'le', 'quantile'], [0, 1, 2, 3]) AS taken
        FROM texts GROUP BY set
    ),
    sets AS (
        SELECT set, labels_of(keys, names, texts, taken) AS labels FROM attributes
        UNION ALL
        SELECT cityHash64(target_info) AS set, JSONExtract(target_info, 'Array(Tuple(String, String))') AS labels
        FROM metrics_intake WHERE target_info != '' LIMIT 1 BY set
    )
    SELECT
        false AS is_set, set, [] AS set_labels, target_hash AS labels_hash, family, type, delta, job, instance, time, value, sum, bounds, values,
        exponential, exemplars, segment, lineage, stored_days_samples, stored_days_exemplars, stored_days_native_histograms
    FROM (SELECT *, attribute_set AS set FROM metrics_intake)
    UNION ALL
    SELECT
        false, cityHash64(target_info), [], any(target_hash), 'target_info', 'gauge', false, job, instance, max(time), 1, NULL, [], [],
        [], [], any(segment), any(lineage), any(stored_days_samples), [], []
    FROM metrics_intake WHERE target_info != ''
    GROUP BY job, instance, target_info, toStartOfInterval(time, INTERVAL 15 SECOND)
    UNION ALL
    SELECT
        true, set, labels, labels_hash(labels.1, labels.2), '', 'gauge', false, '', '', toDateTime64(0, 3, 'UTC'), 0, NULL, [], [],
        [], [], 0, [], [], [], []
    FROM sets
);

-- An exemplar of a histogram belongs to the first bucket it fits in.
CREATE MATERIALIZED VIEW points_intake_to_exemplars TO exemplars AS
SELECT
    metric, cityHash64(metric, labels_hash + hash + if(type = 'histogram', cityHash64('le', plain_number(bound)), 0)) AS id,
    time, value, trace_id, span_id, CAST(set_labels AS Map(LowCardinality(String), String)) AS labels, segment
FROM (
    SELECT
        if(type = 'histogram', concat(family, '_bucket'), family) AS metric, type, labels_hash, set, segment, stored_days_exemplars,
        fromUnixTimestamp64Milli(toInt64(intDiv(exemplar.time_unix_nano, 1000000)), 'UTC') AS time,
        if(exemplar.as_int != 0, toFloat64(exemplar.as_int), exemplar.as_double) AS value,
        arrayFirst(bound -> value <= bound, bounds) AS bound,
        toFixedString(exemplar.trace_id, 16) AS trace_id,
        toFixedString(exemplar.span_id, 8) AS span_id,
        cityHash64(exemplar.filtered_attributes, 0) AS filtered
    FROM points_intake ARRAY JOIN exemplars AS exemplar
) AS found
ANY LEFT JOIN (SELECT set, labels_hash AS hash FROM points_intake WHERE is_set) AS sets USING set
ANY LEFT JOIN (SELECT set AS filtered, set_labels FROM points_intake WHERE is_set) AS filtered_sets USING filtered
WHERE NOT has(stored_days_exemplars, toDate(time));

-- Prometheus knows no scale above 8; a coarser one loses nothing but detail. Its bucket n ends where OTLP's bucket n
-- begins, so its numbers are higher by one.
CREATE MATERIALIZED VIEW points_intake_to_native_histograms TO native_histograms AS
SELECT
    metric, cityHash64(metric, labels_hash + hash) AS id, time, h.count AS count, sum, h.scale - down AS schema,
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

-- Samples by series, deltas still as they came, and the sets again. `own_name` and `own_value` are the label that tells a
-- bucket or quantile from its siblings, '' for none.
CREATE TABLE samples_intake (
    is_set Bool,
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

CREATE MATERIALIZED VIEW points_intake_to_samples TO samples_intake AS
SELECT
    is_set, set, set_labels, metric, cityHash64(metric, labels_hash + if(own_name = '', 0, cityHash64(own_name, own_value))) AS id,
    time, value, delta, job, instance, own_name, own_value, segment, lineage, stored_days_samples AS stored_days
FROM (
    WITH points AS (
        SELECT points_intake.* EXCEPT (labels_hash), labels_hash + hash AS labels_hash
        FROM points_intake ANY LEFT JOIN (SELECT set, labels_hash AS hash FROM points_intake WHERE is_set) AS sets USING set
        WHERE NOT is_set
    )
    SELECT family AS metric, '' AS own_name, '' AS own_value, value, is_set, set, set_labels, labels_hash, time, delta, job, instance, segment, lineage, stored_days_samples
    FROM points WHERE type IN ('counter', 'gauge')
    UNION ALL
    SELECT concat(family, '_count'), '', '', value, is_set, set, set_labels, labels_hash, time, delta, job, instance, segment, lineage, stored_days_samples
    FROM points WHERE type IN ('histogram', 'summary')
    UNION ALL
    SELECT concat(family, '_sum'), '', '', assumeNotNull(sum), is_set, set, set_labels, labels_hash, time, delta, job, instance, segment, lineage, stored_days_samples
    FROM points WHERE type IN ('histogram', 'summary') AND sum IS NOT NULL
    UNION ALL
    SELECT
        if(type = 'histogram', concat(family, '_bucket'), family), if(type = 'histogram', 'le', 'quantile'), plain_number(bound), at_bound,
        is_set, set, set_labels, labels_hash, time, delta, job, instance, segment, lineage, stored_days_samples
    FROM points ARRAY JOIN bounds AS bound, values AS at_bound WHERE type IN ('histogram', 'summary')
    UNION ALL
    SELECT '', '', '', 0, is_set, set, set_labels, labels_hash, time, delta, job, instance, segment, lineage, stored_days_samples
    FROM points_intake WHERE is_set
);

CREATE MATERIALIZED VIEW samples_intake_to_series TO series AS
SELECT
    metric, id, first_seen, last_seen,
    CAST(arraySort(arrayConcat(
        arrayFilter(label -> label.2 != '', [('instance', instance), ('job', job), (own_name, own_value)]), set_labels))
        AS Map(LowCardinality(String), String)) AS labels
FROM (
    SELECT
        any(metric) AS metric, id, min(toDateTime(time)) AS first_seen, max(toDateTime(time)) AS last_seen,
        any(job) AS job, any(instance) AS instance, any(own_name) AS own_name, any(own_value) AS own_value, any(set) AS set
    FROM samples_intake WHERE NOT is_set GROUP BY id
) AS seen
ANY LEFT JOIN (SELECT set, set_labels FROM samples_intake WHERE is_set) AS sets USING set;

-- A delta says how much more; its series is the running total, which goes on from the last one stored by another segment.
-- One older than that counts at the time of the last one: at its own time it would look like a reset of the counter.
CREATE MATERIALIZED VIEW samples_intake_to_samples TO samples AS
SELECT metric, id, time, value, segment
FROM (
    WITH
    increases AS (SELECT * FROM samples_intake WHERE delta AND NOT isNaN(value)),
    totals AS (
        SELECT metric, id, argMax(value, (time, segment)) AS total, max(time) AS until
        FROM samples
        WHERE (metric, id) IN (SELECT metric, id FROM increases)
            AND time > (SELECT min(time) FROM increases) - INTERVAL 1 HOUR
            AND segment NOT IN (SELECT arrayJoin(any(lineage)) FROM increases)
            AND NOT isNaN(value)
        GROUP BY metric, id
    )
    SELECT metric, id, time, value, segment, stored_days FROM samples_intake WHERE NOT is_set AND (NOT delta OR isNaN(value))
    UNION ALL
    SELECT metric, id, time, total + sum(increase) OVER (PARTITION BY metric, id ORDER BY time), segment, stored_days
    FROM (
        SELECT
            metric, id, greatest(increases.time, until) AS time, any(total) AS total, sum(value) AS increase,
            any(segment) AS segment, any(stored_days) AS stored_days
        FROM increases ANY LEFT JOIN totals USING (metric, id)
        GROUP BY metric, id, time
    )
)
WHERE NOT has(stored_days, toDate(time));
