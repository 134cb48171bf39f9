-- Buckets of 5 minutes of the samples of some metrics. Of samples of one instant one counts (see `samples`): sorted it is the
-- last, and the stale marker is none. Aggregated in the table's order and in small blocks: 14 million samples take 60 MB
-- instead of 500.
INSERT INTO rollups_5m_new
WITH
    arrayPushBack(arrayPopFront(found.1), toDateTime64(0, 3, 'UTC')) AS following,
    arrayFilter((point, next) -> point.1 != next AND reinterpretAsUInt64(point.3) != 0x7ff0000000000002, found, following) AS points,
    points.3 AS numbers
SELECT
    metric,
    id,
    bucket,
    length(points) AS count,
    arraySum(numbers) AS sum,
    arrayReduce('min', numbers) AS min,
    arrayReduce('max', numbers) AS max,
    points[1].1 AS first_time,
    numbers[1] AS first,
    points[-1].1 AS last_time,
    numbers[-1] AS last,
    arraySum((before, after) -> if(after < before, before, 0.), arrayPopBack(numbers), arrayPopFront(numbers)) AS lost
FROM (
    SELECT
        metric,
        id,
        toDateTime(intDiv(toUnixTimestamp64Milli(time) - 1, 300000) * 300, 'UTC') AS bucket,
        arraySort(groupArray((time, segment, value))) AS found
    FROM samples
    WHERE metric >= {first_metric:String} AND metric <= {last_metric:String}
        AND time > fromUnixTimestamp64Milli({start:Int64}, 'UTC') AND time <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    GROUP BY metric, id, bucket
)
WHERE notEmpty(points)
SETTINGS
    max_threads = 1, max_insert_threads = 1, optimize_aggregation_in_order = 1, max_memory_usage = 1000000000,
    max_block_size = 8192, aggregation_in_order_max_block_bytes = 8000000,
    min_insert_block_size_rows = 100000, min_insert_block_size_bytes = 16000000
