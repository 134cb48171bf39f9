INSERT INTO spans_intake
SELECT
    otlp_time(s.start_time_unix_nano) AS time,
    toInt64(s.end_time_unix_nano - s.start_time_unix_nano) AS duration_ns,
    toFixedString(s.trace_id, 16) AS trace_id,
    toFixedString(s.span_id, 8) AS span_id,
    toFixedString(s.parent_span_id, 8) AS parent_span_id,
    service,
    s.name AS name,
    s.kind AS kind,
    s.status.code AS status_code,
    s.status.message AS status_message,
    s.trace_state AS trace_state,
    s.flags AS flags,
    resource,
    scope.name AS scope_name,
    scope.version AS scope_version,
    scope_attributes,
    scope_attribute_types,
    scope.dropped_attributes_count AS scope_dropped_attributes_count,
    scope_schema_url,
    otlp_attributes(s.attributes) AS attributes,
    otlp_types(s.attributes) AS attribute_types,
    s.dropped_attributes_count AS dropped_attributes_count,
    s.dropped_events_count AS dropped_events_count,
    s.dropped_links_count AS dropped_links_count,
    arrayMap(e -> otlp_time(e.time_unix_nano), s.events) AS `events.time`,
    s.events.name AS `events.name`,
    arrayMap(e -> otlp_attributes(e.attributes), s.events) AS `events.attributes`,
    arrayMap(e -> otlp_types(e.attributes), s.events) AS `events.attribute_types`,
    s.events.dropped_attributes_count AS `events.dropped_attributes_count`,
    s.links.trace_id AS `links.trace_id`,
    s.links.span_id AS `links.span_id`,
    s.links.trace_state AS `links.trace_state`,
    s.links.flags AS `links.flags`,
    arrayMap(l -> otlp_attributes(l.attributes), s.links) AS `links.attributes`,
    arrayMap(l -> otlp_types(l.attributes), s.links) AS `links.attribute_types`,
    s.links.dropped_attributes_count AS `links.dropped_attributes_count`,
    {segment:UInt64} AS segment,
    toDate(time) IN ({stored_days_spans:Array(Date)}) AS stored
FROM (
    SELECT
        service,
        resource,
        scoped.scope AS scope,
        otlp_attributes(scope.attributes) AS scope_attributes,
        otlp_types(scope.attributes) AS scope_attribute_types,
        scoped.schema_url AS scope_schema_url,
        arrayJoin(scoped.items) AS s
    FROM (
        SELECT
            otlp_attribute(r.resource.attributes, 'service.name') AS service,
            otlp_identity(r.resource, r.schema_url) AS resource,
            arrayJoin(r.scopes) AS scoped
        FROM (SELECT arrayJoin(resources) AS r FROM $source)
    )
)
