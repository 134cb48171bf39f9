-- The labels of a metric's series seen in the range, each with the values it took.
SELECT label.1 AS name, arraySort(groupUniqArray({limit:UInt32})(label.2)) AS label_values
FROM (
    SELECT any(labels) AS labels
    FROM series
    WHERE metric = {metric:String}
    GROUP BY id
    HAVING max(last_seen) >= toStartOfSecond({start:DateTime64(9, 'UTC')}) AND min(first_seen) < {end:DateTime64(9, 'UTC')}
)
ARRAY JOIN labels AS label
GROUP BY name
ORDER BY name
