-- The points of a segment, one row each, named as in Prometheus; the views of `metrics_intake` store what they say.
-- A metric holds points of one type, so its five lists joined end to end are the one that is not empty. Below, g, s, h, e
-- and q are the points of gauges, sums, histograms, exponential histograms and summaries.
-- An expression costs some 0.1 ms to analyse, whatever it computes: few of them matter more than short ones.
INSERT INTO metrics_intake
SELECT
    family, type, unit, help, delta, job, instance, target_hash, target_info, target_set, nth = 1 AS first, reserved, attributes,
    cityHash64(attributes, reserved) AS attribute_set,
    fromUnixTimestamp64Milli(toInt64(intDiv(nanos, 1000000)), 'UTC') AS time,
    if(bitTest(flags, 0), stale_marker(), point_value) AS value,
    if(bitTest(flags, 0), stale_marker(), point_sum) AS sum,
    bounds,
    if(bitTest(flags, 0), arrayMap(x -> stale_marker(), point_values), point_values) AS values,
    exponential, exemplars,
    {segment:UInt64} AS segment,
    {lineage:Array(UInt64)} AS lineage,
    {stored_days_samples:Array(Date)} AS stored_days_samples,
    {stored_days_exemplars:Array(Date)} AS stored_days_exemplars,
    {stored_days_native_histograms:Array(Date)} AS stored_days_native_histograms
FROM (
    SELECT
        multiIf(
            counter, 'counter', histograms > 0, 'histogram', exponentials > 0, 'exponential_histogram', summaries > 0, 'summary',
            'gauge') AS type,
        toLowCardinality(replaceRegexpOne(multiIf(counter, with_total(words), gauges > 0 AND otlp_unit = '1', with_ratio(words), words),
            '^([0-9]|$$)', '_\\1')) AS family,
        toLowCardinality(concat(main, if(per = '', '', if(main = '', 'per_', '_per_')), per)) AS unit,
        (job != '') + 2 * (instance != '') + 4 * (histograms > 0) + 8 * (summaries > 0) AS reserved,
        help, delta, job, instance, target_hash, target_info, target_set,
        attributes, nanos, flags, point_value, point_sum, bounds, point_values, exponential, exemplars
    FROM (
        SELECT
            job, instance, target_hash, target_info, target_set, otlp_unit, main, per, gauges, sums, histograms, exponentials, summaries,
            with_unit(words, main, per) AS words,
            help,
            monotonic AND sums > 0 AS counter,
            delta,
            arrayConcat(g.attributes, s.attributes, h.attributes, e.attributes, q.attributes) AS attributes,
            arrayConcat(g.time_unix_nano, s.time_unix_nano, h.time_unix_nano, e.time_unix_nano, q.time_unix_nano) AS nanos,
            arrayConcat(g.flags, s.flags, h.flags, e.flags, q.flags) AS flags,
            arrayMap((i, d) -> if(i != 0, toFloat64(i), d),
                arrayConcat(g.as_int, s.as_int, arrayMap(n -> toInt64(n), arrayConcat(h.count, e.count, q.count))),
                arrayConcat(g.as_double, s.as_double, arrayResize([0.], histograms, 0.),
                    arrayResize([0.], exponentials, 0.), arrayResize([0.], summaries, 0.))) AS point_value,
            arrayConcat(arrayResize([NULL], gauges + sums, NULL), h.sum, e.sum, q.sum) AS point_sum,
            arrayConcat(
                arrayResize([CAST([] AS Array(Float64))], gauges + sums, []),
                arrayMap((bounds, counts) -> arrayPushBack(arrayResize(bounds, least(length(bounds), length(counts))), inf),
                    h.explicit_bounds, h.bucket_counts),
                arrayResize([CAST([] AS Array(Float64))], exponentials, []),
                q.quantile_values.quantile) AS bounds,
            arrayConcat(
                arrayResize([CAST([] AS Array(Float64))], gauges + sums, []),
                arrayMap((bounds, counts, count) -> arrayMap(n -> toFloat64(n), arrayPushBack(
                        arrayCumSum(arrayResize(counts, least(length(bounds), length(counts)))), count)),
                    h.explicit_bounds, h.bucket_counts, h.count),
                arrayResize([CAST([] AS Array(Float64))], exponentials, []),
                q.quantile_values.value) AS point_values,
            arrayConcat(
                arrayMap(x -> [], arrayResize([0], gauges + sums + histograms, 0)),
                arrayMap(p -> [(p.count, p.scale, p.zero_threshold, p.zero_count, p.positive, p.negative, p.min, p.max)], e),
                arrayMap(x -> [], arrayResize([0], summaries, 0))) AS exponential,
            arrayConcat(g.exemplars, s.exemplars, h.exemplars, e.exemplars, arrayMap(x -> [], arrayResize([0], summaries, 0))) AS exemplars
        FROM (
            SELECT
                job, instance, target_hash, target_info, target_set,
                words_of(toLowCardinality(m.name)) AS words,
                toLowCardinality(m.unit) AS otlp_unit,
                main_unit(trim(extract(toLowCardinality(m.unit), '^[^/]*'))) AS main,
                per_unit(trim(extract(toLowCardinality(m.unit), '/(.*)'))) AS per,
                toLowCardinality(m.description) AS help,
                length(m.gauge.data_points.flags) AS gauges,
                length(m.sum.data_points.flags) AS sums,
                length(m.histogram.data_points.flags) AS histograms,
                length(m.exponential_histogram.data_points.flags) AS exponentials,
                length(m.summary.data_points.flags) AS summaries,
                m.gauge.data_points AS g, m.sum.data_points AS s, m.histogram.data_points AS h,
                m.exponential_histogram.data_points AS e, m.summary.data_points AS q,
                m.sum.is_monotonic AS monotonic,
                greatest(m.sum.aggregation_temporality, m.histogram.aggregation_temporality, m.exponential_histogram.aggregation_temporality) = 1 AS delta
            FROM (
                SELECT job, instance, target_hash, target_info, target_set, arrayJoin(scoped.items) AS m
                FROM (
                    SELECT
                        toLowCardinality(job) AS job, toLowCardinality(instance) AS instance, scoped,
                        labels_hash(target.1, target.2) AS target_hash,
                        toLowCardinality(toJSONString(info)) AS target_info,
                        if(empty(target) OR empty(info), 0, cityHash64(target_hash, target_info)) AS target_set
                    FROM (
                        SELECT
                            attributes['service.namespace'] AS namespace,
                            attributes['service.name'] AS service,
                            if(namespace = '' OR service = '', service, concat(namespace, '/', service)) AS job,
                            attributes['service.instance.id'] AS instance,
                            arrayFilter(label -> label.2 != '', [('instance', instance), ('job', job)]) AS target,
                            labels_of(keys, names, texts, target.1) AS info,
                            scoped
                        FROM (
                            SELECT
                                mapFromArrays(r.resource.attributes.key, arrayMap(x -> otlp_text(x.value), r.resource.attributes)) AS attributes,
                                mapFilter((key, text) -> key NOT IN ('service.namespace', 'service.name', 'service.instance.id'), attributes)
                                    AS described,
                                mapKeys(described) AS keys,
                                arrayMap(key -> label_name(key), keys) AS names,
                                mapValues(described) AS texts,
                                arrayJoin(r.scopes) AS scoped
                            FROM (SELECT arrayJoin(resources) AS r FROM $source)
                        )
                    )
                )
            )
        )
    )
)
ARRAY JOIN arrayEnumerate(nanos) AS nth, attributes, nanos, flags, point_value, point_sum, bounds, point_values, exponential, exemplars
