DELETE FROM series WHERE metric IN {metrics:Array(String)} AND id IN {ids:Array(UInt64)}
