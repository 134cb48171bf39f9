-- A metric's series seen in the range that have all the labels.
SELECT id, toJSONString(any(labels)) AS label_texts
FROM ${variant}
WHERE metric = {metric:String} AND last_seen >= toStartOfSecond({start:DateTime64(9, 'UTC')}) AND first_seen < {end:DateTime64(9, 'UTC')}
    AND arrayAll((name, value) -> labels[name] = value, {label_names:Array(String)}, {label_values:Array(String)})
GROUP BY id
ORDER BY label_texts
LIMIT {limit:UInt32}
