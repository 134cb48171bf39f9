SELECT DISTINCT toDate(time) AS day FROM native_histograms WHERE segment IN ({lineage:Array(UInt64)})
