-- The names of the metrics that had a series in the range.
SELECT DISTINCT metric
FROM series
WHERE last_seen >= {start:DateTime('UTC')} AND first_seen <= {end:DateTime('UTC')}
