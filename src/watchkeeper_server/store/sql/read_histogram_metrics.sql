-- The metrics that have native histograms in parts that hold something newer than a block, see `read_new_series`.
SELECT DISTINCT metric FROM native_histograms WHERE toUInt64(splitByChar('_', _part)[3]) > {after:UInt64}
