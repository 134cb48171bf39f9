-- What there is of samples and of their rollups. A block's number never comes back; deleting counts as a block, merging does not.
SELECT table, toDate(partition) AS day, min(min_block_number) AS oldest, max(greatest(max_block_number, data_version)) AS newest
FROM system.parts
WHERE database = currentDatabase() AND active AND table IN ('samples', 'rollups_5m', 'rollups_1h')
GROUP BY table, partition
