-- The segments stored since one: their numbers grow with time.
SELECT DISTINCT segment FROM logs WHERE segment > {after:UInt64}
