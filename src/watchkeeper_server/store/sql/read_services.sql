-- Each service's spans and requests, in all and by piece of the range. Requests are what a service was asked to do: its
-- server and consumer spans, and those that begin a trace. Quantiles are of bfloat16: at most 0.4 % off, and mergeable.
SELECT
    service AS name,
    sum(piece_spans) AS spans,
    toUnixTimestamp64Nano(max(piece_last)) AS last_ns,
    sum(piece_requests) AS requests,
    sum(piece_errors) AS errors,
    quantilesBFloat16Merge(0.5, 0.95, 0.99)(durations) AS quantiles_ns,
    groupArray(piece) AS pieces,
    groupArray(piece_requests) AS requests_of,
    groupArray(piece_errors) AS errors_of,
    groupArray(finalizeAggregation(durations)[2]) AS p95_ns_of
FROM (
    SELECT
        service,
        intDiv(toUnixTimestamp64Nano(time) - toUnixTimestamp64Nano({start:DateTime64(9, 'UTC')}), {step_ns:Int64}) AS piece,
        count() AS piece_spans,
        max(time) AS piece_last,
        countIf(is_request) AS piece_requests,
        countIf(is_request AND status_code = 2) AS piece_errors,
        quantilesBFloat16StateIf(0.5, 0.95, 0.99)(greatest(duration_ns, 0), is_request) AS durations
    FROM (SELECT *, kind IN (2, 5) OR parent_span_id = toFixedString('', 8) AS is_request FROM spans)
    WHERE time >= {start:DateTime64(9, 'UTC')} AND time < {end:DateTime64(9, 'UTC')}
        AND toStartOfFiveMinutes(time) >= toStartOfFiveMinutes({start:DateTime64(9, 'UTC')})
        AND toStartOfFiveMinutes(time) <= toStartOfFiveMinutes({end:DateTime64(9, 'UTC')})
    GROUP BY service, piece
)
GROUP BY name
