DELETE FROM ${variant} WHERE metric IN {metrics:Array(String)} AND id IN {ids:Array(UInt64)}
