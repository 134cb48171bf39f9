-- As `read_grid`, of rollups until a time and of samples after it.
SELECT id, countIf(sampled) > groupBitmapIf(toUnixTimestamp(time), sampled) AS repeated, timeSeries${variant}ToGrid(
    fromUnixTimestamp64Milli({start:Int64}, 'UTC'), fromUnixTimestamp64Milli({end:Int64}, 'UTC'), {step:Decimal64(3)}, {window:Decimal64(3)}
)(time, value) AS grid
FROM (
    SELECT id, point.1 AS time, point.2 AS value, 0 AS sampled
    FROM {table:Identifier}
    ARRAY JOIN {points:Identifier} AS point
    WHERE metric IN {metrics:Array(String)}
        AND id IN {ids:Array(UInt64)}  -- if given
        AND bucket >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND bucket < fromUnixTimestamp64Milli({until:Int64}, 'UTC')
    UNION ALL
    SELECT id, time, if({points:String} = 'counts', 1., value) AS value, 1 AS sampled
    FROM samples
    WHERE metric IN {metrics:Array(String)}
        AND id IN {ids:Array(UInt64)}  -- if given
        AND time > fromUnixTimestamp64Milli({until:Int64}, 'UTC') AND time <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
        AND reinterpretAsUInt64(value) != {marker:UInt64}  -- if given
)
GROUP BY id
