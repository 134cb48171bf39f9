-- Native histograms later than the start and not later than the end, by series and time; of several of one instant the
-- one stored last comes last. Counts since the previous histogram are no counter: they are read as gauges.
SELECT
    id, time, count, sum, toInt64(schema) AS schema, zero_threshold, zero_count,
    toInt64(positive_offset) AS positive_offset, positive_counts,
    toInt64(negative_offset) AS negative_offset, negative_counts,
    custom_values, if(delta, 3, toInt64(counter_reset)) AS counter_reset
FROM native_histograms
WHERE metric IN {metrics:Array(String)}
    AND id IN {ids:Array(UInt64)}  -- if given
    AND time > fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND time <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
ORDER BY metric, id, time, segment
LIMIT {limit:UInt64}
