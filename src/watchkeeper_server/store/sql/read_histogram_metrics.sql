-- The metrics that have native histograms, of segments stored since one, each with its newest.
SELECT metric, max(segment) AS newest FROM native_histograms WHERE segment >= {after:UInt64} GROUP BY metric
