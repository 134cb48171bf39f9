SELECT DISTINCT toDate(time) AS day FROM samples WHERE segment IN ({lineage:Array(UInt64)})
