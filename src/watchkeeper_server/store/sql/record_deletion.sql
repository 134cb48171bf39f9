-- Says of the partitions of samples from one to another that something is deleted from them.
INSERT INTO sample_deletions
SELECT DISTINCT toDate(partition) AS day, 1
FROM system.parts
WHERE database = currentDatabase() AND active AND table = 'samples' AND day BETWEEN {first:Date} AND {last:Date}
