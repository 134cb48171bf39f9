-- What PromQL's function comes to over the window before each step; null where it has no answer. An instant selector
-- (`Last`) is told where a series has ended, to other functions the marker that says so is no sample. `repeated` says that
-- there may be several samples of one instant, since there are of one second (telling milliseconds apart would take longer
-- than all the rest): of those not the one that counts was taken, but the largest.
SELECT id, count() > groupBitmap(toUnixTimestamp(time)) AS repeated, timeSeries${variant}ToGrid(
    fromUnixTimestamp64Milli({start:Int64}, 'UTC'), fromUnixTimestamp64Milli({end:Int64}, 'UTC'), {step:Decimal64(3)}, {window:Decimal64(3)}
)(time, value) AS grid
FROM samples
WHERE metric IN {metrics:Array(String)}
    AND id IN {ids:Array(UInt64)}  -- if given
    AND time > fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND time <= fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND reinterpretAsUInt64(value) != {marker:UInt64}  -- if given
GROUP BY id
