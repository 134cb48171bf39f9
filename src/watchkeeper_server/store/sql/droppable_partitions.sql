-- What could be dropped to make room, a partition a row: its first day, and what it takes on disk.
SELECT table, partition_id AS partition, toDate(partition) AS day, sum(bytes_on_disk) AS bytes
FROM system.parts
WHERE database = currentDatabase() AND active AND table IN {tables:Array(String)}
GROUP BY table, partition_id, partition
