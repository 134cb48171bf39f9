-- The labels of a metric's series seen in the range, each with the values it took.
SELECT label.1 AS name, arraySort(groupUniqArray({limit:UInt32})(label.2)) AS label_values
FROM (
    SELECT any(labels) AS labels
    FROM ${variant}
    WHERE metric = {metric:String} AND last_seen >= toStartOfSecond({start:DateTime64(9, 'UTC')}) AND first_seen < {end:DateTime64(9, 'UTC')}
    GROUP BY id
)
ARRAY JOIN labels AS label
GROUP BY name
ORDER BY name
