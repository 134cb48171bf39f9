-- A service's requests by span name and kind, those that took the most time in all first; see read_services.
SELECT
    name AS operation,
    kind,
    count() AS requests,
    countIf(status_code = 2) AS errors,
    quantilesBFloat16(0.5, 0.95, 0.99)(greatest(duration_ns, 0)) AS quantiles_ns
FROM spans
WHERE time >= {start:DateTime64(9, 'UTC')} AND time < {end:DateTime64(9, 'UTC')}
    AND toStartOfFiveMinutes(time) >= toStartOfFiveMinutes({start:DateTime64(9, 'UTC')})
    AND toStartOfFiveMinutes(time) <= toStartOfFiveMinutes({end:DateTime64(9, 'UTC')})
    AND service = {service:String}
    AND (kind IN (2, 5) OR parent_span_id = toFixedString('', 8))
GROUP BY operation, kind
ORDER BY sum(greatest(duration_ns, 0)) DESC, operation, kind
LIMIT {limit:UInt32}
