-- The label names of the series in the range.
SELECT DISTINCT arrayJoin(mapKeys(labels)) AS name
FROM series
WHERE last_seen >= {start:DateTime('UTC')} AND first_seen <= {end:DateTime('UTC')}
ORDER BY name
