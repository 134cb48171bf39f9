-- Samples later than the start and not later than the end, by series and time. Of several of one instant the one that counts
-- (see `samples`) comes last where that is asked for: it makes a large answer half as slow again.
SELECT id, time, value
FROM samples
WHERE metric IN {metrics:Array(String)}
    AND id IN {ids:Array(UInt64)}  -- if given
    AND time > fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND time <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
ORDER BY metric, id, time
    , segment * {by_segment:UInt8}, value  -- if given
LIMIT {limit:UInt64}
