SELECT id, toUnixTimestamp64Milli(time) AS ms, value
FROM samples
WHERE time >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND time < fromUnixTimestamp64Milli({until:Int64}, 'UTC')
