-- How many samples are in partitions that have some of a time or later.
SELECT sum(rows) AS samples
FROM system.parts
WHERE database = currentDatabase() AND table = 'samples' AND active AND max_time >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
