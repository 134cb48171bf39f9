-- The series with samples in the range, whose labels are, or are not, such: by id. An absent label is the empty string.
SELECT metric, id, toJSONString(labels) AS label_texts
FROM series
WHERE last_seen >= toDateTime({start:UInt32}, 'UTC') AND first_seen <= toDateTime({end:UInt32}, 'UTC')
    AND metric IN {metrics:Array(String)}  -- if given
    AND arrayAll((name, value) -> labels[name] = value, {equal_names:Array(String)}, {equal_values:Array(String)})  -- if given
    AND arrayAll((name, value) -> labels[name] != value, {unequal_names:Array(String)}, {unequal_values:Array(String)})  -- if given
ORDER BY id
LIMIT 1 BY id
