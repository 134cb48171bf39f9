-- Both ends belong to the range. `variant` is the table.
DELETE FROM ${variant}
WHERE metric IN {metrics:Array(String)}
    AND id IN {ids:Array(UInt64)}
    AND time >= fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND time <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
