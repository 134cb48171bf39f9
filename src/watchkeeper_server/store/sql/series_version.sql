-- Numbers that are others whenever series, or native histograms, have been stored.
SELECT
    maxIf(max_block_number, table = 'series') AS series,
    maxIf(max_block_number, table = 'native_histograms') AS histograms
FROM system.parts
WHERE database = currentDatabase() AND table IN ('series', 'native_histograms') AND active
