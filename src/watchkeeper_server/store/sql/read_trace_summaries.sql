-- Traces by service. A span that came twice counts once. A root comes before other spans, then the earlier one.
SELECT
    lower(hex(trace_id)) AS id,
    service,
    toUnixTimestamp64Nano(min(time)) AS start_ns,
    max(toUnixTimestamp64Nano(time) + greatest(duration_ns, 0)) AS end_ns,
    uniqExact(span_id, kind) AS spans,
    uniqExactIf((span_id, kind), status_code = 2) AS errors,
    argMin((parent_span_id != toFixedString('', 8), toUnixTimestamp64Nano(time), name), (parent_span_id != toFixedString('', 8), time)) AS first
FROM spans
WHERE time >= {start:DateTime64(9, 'UTC')} AND time < {end:DateTime64(9, 'UTC')}
    AND toStartOfFiveMinutes(time) IN {buckets:Array(DateTime('UTC'))}  -- if given
    AND trace_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))
GROUP BY trace_id, service
