-- Matching records by piece of the range and severity.
SELECT
    intDiv(toUnixTimestamp64Nano(time) - toUnixTimestamp64Nano({start:DateTime64(9, 'UTC')}), {step_ns:Int64}) AS piece,
    severity_number,
    severity_text,
    count() AS records
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
GROUP BY piece, severity_number, severity_text
