-- When the newest matching records were: the first half of a search, which reads only what it filters by.
-- The sort key begins with the five-minute bucket, which conditions on the time alone do not use.
SELECT toUnixTimestamp64Nano(time) AS time_ns
FROM logs
WHERE time >= {start:DateTime64(9, 'UTC')} AND time < {end:DateTime64(9, 'UTC')}
    AND toStartOfFiveMinutes(time) >= toStartOfFiveMinutes({start:DateTime64(9, 'UTC')})
    AND toStartOfFiveMinutes(time) <= toStartOfFiveMinutes({end:DateTime64(9, 'UTC')})
    AND service = {service:String}  -- if given
    AND (severity_number >= {severity:UInt8} OR (severity_number = 0 AND has({severity_words:Array(String)}, lower(severity_text))))  -- if given
    AND trace_id = unhex({trace_id:String})  -- if given
    AND span_id = unhex({span_id:String})  -- if given
    AND hasAllTokens(lower(body), {words:Array(String)})  -- if given
    AND NOT has(multiSearchAllPositions(lowerUTF8(body), {phrases:Array(String)}), 0)  -- if given
ORDER BY time DESC
LIMIT {limit:UInt32}
