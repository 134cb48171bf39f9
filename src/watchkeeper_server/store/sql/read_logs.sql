-- Matching records, whole: those of some instants or buckets, or those that some segments brought; newest first.
-- Records of one instant are ordered by a hash of their content, so that a page can end between them.
SELECT
    toUnixTimestamp64Nano(time) AS time_ns,
    toUnixTimestamp64Nano(observed_time) AS observed_ns,
    service,
    severity_number,
    severity_text,
    body,
    CAST(body_type, 'String') AS body_type,
    event_name,
    lower(hex(trace_id)) AS trace,
    lower(hex(span_id)) AS span,
    flags,
    toJSONString(attributes) AS attribute_texts,
    toJSONString(attribute_types) AS attribute_type_names,
    dropped_attributes_count,
    scope_name,
    scope_version,
    toJSONString(scope_attributes) AS scope_attribute_texts,
    toJSONString(scope_attribute_types) AS scope_attribute_type_names,
    scope_dropped_attributes_count,
    scope_schema_url,
    toString(resource) AS resource_id,
    cityHash64(
        observed_time, service, severity_number, severity_text, body, body_type, event_name, trace_id, span_id, flags,
        attributes, attribute_types, dropped_attributes_count, scope_name, scope_version, scope_attributes, scope_schema_url,
        resource) AS tie
FROM logs
WHERE true
    AND time IN {times:Array(DateTime64(9, 'UTC'))}  -- if given
    AND toStartOfFiveMinutes(time) IN {buckets:Array(DateTime('UTC'))}  -- if given
    AND segment IN {segments:Array(UInt64)}  -- if given
    AND (time < {newest:DateTime64(9, 'UTC')} OR (time = {newest:DateTime64(9, 'UTC')} AND tie <= {tie:UInt64}))  -- if given
    AND service = {service:String}  -- if given
    AND (severity_number >= {severity:UInt8} OR (severity_number = 0 AND has({severity_words:Array(String)}, lower(severity_text))))  -- if given
    AND trace_id = unhex({trace_id:String})  -- if given
    AND span_id = unhex({span_id:String})  -- if given
    AND hasAllTokens(lower(body), {words:Array(String)})  -- if given
    AND NOT has(multiSearchAllPositions(lowerUTF8(body), {phrases:Array(String)}), 0)  -- if given
ORDER BY time DESC, tie DESC
LIMIT {limit:UInt32} OFFSET {answered:UInt32}
