-- The label names of the series in the range.
SELECT DISTINCT arrayJoin(mapKeys(labels)) AS name
FROM ${variant}
WHERE last_seen >= toDateTime({start:UInt32}, 'UTC') AND first_seen <= toDateTime({end:UInt32}, 'UTC')
ORDER BY name
