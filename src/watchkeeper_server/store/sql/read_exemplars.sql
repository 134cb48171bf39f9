-- The exemplars of series in the range, oldest first; one that came twice is answered once.
SELECT
    id, toUnixTimestamp64Milli(time) AS time_ms, value, toJSONString(labels) AS label_texts,
    lower(hex(trace_id)) AS trace, lower(hex(span_id)) AS span
FROM exemplars
WHERE metric IN {metrics:Array(String)}
    AND id IN {ids:Array(UInt64)}
    AND time >= fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND time <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
ORDER BY metric, id, time
LIMIT 1 BY id, time, value, trace_id, span_id
LIMIT {limit:UInt64}
