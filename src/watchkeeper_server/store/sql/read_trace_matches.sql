-- Traces with a span that matches, each with the time of the newest such span, newest first.
-- Without toFixedString an id that ends in a zero byte would not be found in the set.
SELECT lower(hex(trace_id)) AS id, toUnixTimestamp64Nano(max(time)) AS newest_ns
FROM spans
WHERE time >= {start:DateTime64(9, 'UTC')} AND time < {end:DateTime64(9, 'UTC')}
    AND toStartOfFiveMinutes(time) >= toStartOfFiveMinutes({start:DateTime64(9, 'UTC')})
    AND toStartOfFiveMinutes(time) <= toStartOfFiveMinutes({end:DateTime64(9, 'UTC')})
    AND trace_id IN (SELECT toFixedString(unhex(arrayJoin({among:Array(String)})), 16))  -- if given
    AND trace_id NOT IN (SELECT toFixedString(unhex(arrayJoin({except:Array(String)})), 16))  -- if given
    AND service = {service:String}  -- if given
    AND name = {operation:String}  -- if given
    AND status_code = {status:Int8}  -- if given
    AND duration_ns >= {min_duration_ns:Int64}  -- if given
    AND duration_ns <= {max_duration_ns:Int64}  -- if given
    AND arrayAll((name, value, bearers) -> (attributes[name] = value AND mapContains(attributes, name)) OR has(bearers, resource), {attribute_names:Array(String)}, {attribute_values:Array(String)}, {attribute_bearers:Array(Array(UInt64))})  -- if given
GROUP BY trace_id
ORDER BY newest_ns DESC, trace_id DESC
LIMIT {limit:UInt32}
