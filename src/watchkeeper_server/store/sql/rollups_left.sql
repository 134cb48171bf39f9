-- A row or two if anything is left of what a partition of samples was rolled up to. Its last midnight is of the partition after it.
SELECT bucket FROM rollups_5m
WHERE bucket >= fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND bucket < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND first_time < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
LIMIT 1
UNION ALL
SELECT bucket FROM rollups_1h
WHERE bucket >= fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND bucket < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND first_time < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
LIMIT 1
