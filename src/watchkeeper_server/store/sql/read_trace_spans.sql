-- A trace's spans, whole, by start; one that came twice is answered once.
SELECT
    lower(hex(span_id)) AS id,
    lower(hex(parent_span_id)) AS parent,
    toUnixTimestamp64Nano(time) AS start_ns,
    duration_ns,
    service,
    name,
    kind,
    status_code,
    status_message,
    trace_state,
    flags,
    toString(resource) AS resource_id,
    scope_name,
    scope_version,
    toJSONString(scope_attributes) AS scope_attribute_texts,
    toJSONString(scope_attribute_types) AS scope_attribute_type_names,
    scope_dropped_attributes_count,
    scope_schema_url,
    toJSONString(attributes) AS attribute_texts,
    toJSONString(attribute_types) AS attribute_type_names,
    dropped_attributes_count,
    dropped_events_count,
    dropped_links_count,
    arrayMap(time -> toUnixTimestamp64Nano(time), `events.time`) AS event_times_ns,
    `events.name` AS event_names,
    toJSONString(`events.attributes`) AS event_attribute_texts,
    toJSONString(`events.attribute_types`) AS event_attribute_type_names,
    `events.dropped_attributes_count` AS event_dropped_attributes_counts,
    arrayMap(id -> lower(hex(id)), `links.trace_id`) AS link_traces,
    arrayMap(id -> lower(hex(id)), `links.span_id`) AS link_spans,
    `links.trace_state` AS link_trace_states,
    `links.flags` AS link_flags,
    toJSONString(`links.attributes`) AS link_attribute_texts,
    toJSONString(`links.attribute_types`) AS link_attribute_type_names,
    `links.dropped_attributes_count` AS link_dropped_attributes_counts
FROM spans
WHERE time >= {start:DateTime64(9, 'UTC')} AND time < {end:DateTime64(9, 'UTC')}
    AND toStartOfFiveMinutes(time) >= toStartOfFiveMinutes({start:DateTime64(9, 'UTC')})
    AND toStartOfFiveMinutes(time) <= toStartOfFiveMinutes({end:DateTime64(9, 'UTC')})
    AND trace_id = unhex({trace_id:String})
ORDER BY time, span_id, kind, duration_ns DESC
LIMIT 1 BY time, span_id, kind
LIMIT {limit:UInt32}
