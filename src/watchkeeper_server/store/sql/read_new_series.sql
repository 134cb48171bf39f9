-- The series in parts that hold something newer than a block: written since, or merged with what was. Parts are named
-- after the blocks they hold, so what is read and what its name says are of one moment.
SELECT
    metric, id, toJSONString(labels) AS label_texts,
    toUnixTimestamp(first_seen) AS first, toUnixTimestamp(last_seen) AS last
FROM series
WHERE toUInt64(splitByChar('_', _part)[3]) > {after:UInt64}
LIMIT {limit:UInt64}
