-- The seconds that traces' spans began in, by the key that the table is sorted by.
SELECT trace_key, toUnixTimestamp(min(first)) AS first, toUnixTimestamp(max(last)) AS last
FROM traces
WHERE trace_key IN {keys:Array(UInt64)}
GROUP BY trace_key
