-- What there is of samples and of their rollups, by the numbers of its blocks: one never comes back, and neither merging nor
-- deleting gives a new one.
SELECT table, toDate(partition) AS day, min(min_block_number) AS oldest, max(max_block_number) AS newest
FROM system.parts
WHERE database = currentDatabase() AND active AND table IN ('samples', 'rollups_5m', 'rollups_1h')
GROUP BY table, partition
