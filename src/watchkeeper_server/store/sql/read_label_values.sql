-- The values a label has in the range.
SELECT DISTINCT labels[{name:String}] AS label_value
FROM series
WHERE last_seen >= {start:DateTime('UTC')} AND first_seen <= {end:DateTime('UTC')} AND mapContains(labels, {name:String})
ORDER BY label_value
