-- Each service's log records, and those of level error or above.
SELECT
    service AS name,
    count() AS records,
    countIf(severity_number >= {severity:UInt8}
        OR (severity_number = 0 AND has({severity_words:Array(String)}, lower(severity_text)))) AS errors,
    toUnixTimestamp64Nano(max(time)) AS last_ns
FROM logs
WHERE time >= {start:DateTime64(9, 'UTC')} AND time < {end:DateTime64(9, 'UTC')}
    AND toStartOfFiveMinutes(time) >= toStartOfFiveMinutes({start:DateTime64(9, 'UTC')})
    AND toStartOfFiveMinutes(time) <= toStartOfFiveMinutes({end:DateTime64(9, 'UTC')})
GROUP BY name
