-- The series with samples in the range, whose labels are, or are not, such. An absent label is the empty string.
SELECT metric, id, toJSONString(labels) AS label_texts
FROM ${variant}
WHERE last_seen >= toDateTime({start:UInt32}, 'UTC') AND first_seen <= toDateTime({end:UInt32}, 'UTC')
    AND metric IN {metrics:Array(String)}  -- if given
    AND arrayAll((name, value) -> labels[name] = value, {equal_names:Array(String)}, {equal_values:Array(String)})  -- if given
    AND arrayAll((name, value) -> labels[name] != value, {unequal_names:Array(String)}, {unequal_values:Array(String)})  -- if given
    AND arrayAll((name, pattern) -> match(labels[name], pattern), {regex_names:Array(String)}, {regex_patterns:Array(String)})  -- if given
    AND arrayAll((name, pattern) -> NOT match(labels[name], pattern), {unregex_names:Array(String)}, {unregex_patterns:Array(String)})  -- if given
LIMIT 1 BY id
LIMIT {limit:UInt64}
