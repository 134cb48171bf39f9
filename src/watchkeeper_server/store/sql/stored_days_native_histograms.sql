-- Also of what was deleted since: it is not to come back.
SELECT DISTINCT day FROM (
    SELECT toDate(time) AS day FROM native_histograms WHERE segment IN ({lineage:Array(UInt64)}) SETTINGS apply_deleted_mask = 0
)
