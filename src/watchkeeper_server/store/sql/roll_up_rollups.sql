-- Hours of the buckets of 5 minutes that were just made.
INSERT INTO rollups_1h_new
WITH arrayPopFront(firsts) AS following, arrayPopBack(lasts) AS preceding
SELECT
    metric,
    id,
    hour AS bucket,
    arraySum(parts.2) AS count,
    arraySum(parts.3) AS sum,
    arrayReduce('min', parts.4) AS min,
    arrayReduce('max', parts.5) AS max,
    parts[1].6 AS first_time,
    firsts[1] AS first,
    parts[-1].8 AS last_time,
    lasts[-1] AS last,
    arraySum(parts.10) + arraySum((before, after) -> if(after < before, before, 0.), preceding, following) AS lost
FROM (
    SELECT
        metric,
        id,
        toStartOfHour(bucket) AS hour,
        arraySort(groupArray((bucket, count, sum, min, max, first_time, first, last_time, last, lost))) AS parts,
        parts.7 AS firsts,
        parts.9 AS lasts
    FROM rollups_5m_new
    WHERE metric >= {first_metric:String} AND metric <= {last_metric:String}
    GROUP BY metric, id, hour
)
SETTINGS
    max_threads = 1, max_insert_threads = 1, optimize_aggregation_in_order = 1, max_memory_usage = 1000000000,
    max_block_size = 8192, aggregation_in_order_max_block_bytes = 8000000,
    min_insert_block_size_rows = 100000, min_insert_block_size_bytes = 16000000
