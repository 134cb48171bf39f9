-- The values a label has in the range.
SELECT DISTINCT labels[{name:String}] AS label_value
FROM ${variant}
WHERE last_seen >= toDateTime({start:UInt32}, 'UTC') AND first_seen <= toDateTime({end:UInt32}, 'UTC') AND mapContains(labels, {name:String})
ORDER BY label_value
