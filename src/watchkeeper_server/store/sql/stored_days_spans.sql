SELECT DISTINCT toDate(time) AS day FROM spans WHERE segment IN ({lineage:Array(UInt64)})
