SELECT DISTINCT toDate(time) AS day FROM exemplars WHERE segment IN ({lineage:Array(UInt64)})
