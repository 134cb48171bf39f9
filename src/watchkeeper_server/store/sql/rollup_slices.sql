-- Ranges of metrics with some `rows` samples each, or with one metric.
SELECT min(name) AS first_metric, max(name) AS last_metric
FROM (
    SELECT name, intDiv(sum(samples) OVER (ORDER BY name), {rows:UInt64}) AS slice
    FROM (
        SELECT toString(metric) AS name, count() AS samples
        FROM samples
        WHERE time > fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND time <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
        GROUP BY name
    )
)
GROUP BY slice
ORDER BY slice
