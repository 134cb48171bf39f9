-- Rollups as samples, by series and time.
SELECT id, point.1 AS time, point.2 AS value
FROM {table:Identifier}
ARRAY JOIN {points:Identifier} AS point
WHERE metric IN {metrics:Array(String)}
    AND id IN {ids:Array(UInt64)}  -- if given
    AND bucket >= fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND bucket < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
ORDER BY metric, id, time
LIMIT {limit:UInt64}
