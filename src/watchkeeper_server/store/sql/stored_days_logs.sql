SELECT DISTINCT toDate(time) AS day FROM logs WHERE segment IN ({lineage:Array(UInt64)})
