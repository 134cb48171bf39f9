-- The metrics that have native histograms.
SELECT DISTINCT metric FROM native_histograms
