-- A metric's series seen in the range that have all the labels.
SELECT id, toJSONString(any(labels)) AS label_texts
FROM series
WHERE metric = {metric:String}
    AND arrayAll((name, value) -> labels[name] = value, {label_names:Array(String)}, {label_values:Array(String)})
GROUP BY id
HAVING max(last_seen) >= toStartOfSecond({start:DateTime64(9, 'UTC')}) AND min(first_seen) < {end:DateTime64(9, 'UTC')}
ORDER BY label_texts
LIMIT {limit:UInt32}
