-- The names of the metrics that had a series in the range.
SELECT DISTINCT metric
FROM ${variant}
WHERE last_seen >= toDateTime({start:UInt32}, 'UTC') AND first_seen <= toDateTime({end:UInt32}, 'UTC')
