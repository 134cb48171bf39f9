-- What segments have stored that is not older than a time.
SELECT id, toUnixTimestamp64Milli(time) AS ms, value
FROM samples
WHERE segment IN {lineage:Array(UInt64)} AND time >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
