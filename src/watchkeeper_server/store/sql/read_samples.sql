-- Samples of some series of a metric, oldest first. Of those of one instant the one stored last counts (see `samples`), and the
-- marker that says a series has ended (a NaN of its own) is no sample. Of more than `max_points` evenly many are left out;
-- the newest stays.
SELECT
    id,
    arraySort(point -> point.1, groupArray((ms, latest))) AS points,
    arrayFilter(
        (point, i) -> length(points) <= {max_points:UInt32}
            OR intDiv(i * {max_points:UInt32}, length(points)) != intDiv((i - 1) * {max_points:UInt32}, length(points)),
        points, arrayEnumerate(points)) AS kept,
    kept.1 AS times_ms,
    kept.2 AS point_values
FROM (
    SELECT id, toUnixTimestamp64Milli(time) AS ms, value AS latest
    FROM samples
    WHERE metric = {metric:String}
        AND id IN {ids:Array(UInt64)}
        AND time >= {start:DateTime64(9, 'UTC')} AND time < {end:DateTime64(9, 'UTC')}
    ORDER BY id, time, segment DESC, value DESC NULLS FIRST  -- which is said of NaN
    LIMIT 1 BY id, time
)
WHERE reinterpretAsUInt64(latest) != 0x7ff0000000000002
GROUP BY id
