-- The buckets, `seconds` long, that touch a range to which both ends belong. `variant` is the table.
DELETE FROM ${variant}
WHERE metric IN {metrics:Array(String)}
    AND id IN {ids:Array(UInt64)}
    AND bucket + {seconds:UInt32} >= fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND bucket < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
