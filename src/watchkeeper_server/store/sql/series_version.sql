-- A number that is another one whenever series have been stored or deleted.
SELECT max(max_block_number) AS version FROM system.parts WHERE database = currentDatabase() AND table = 'series' AND active
