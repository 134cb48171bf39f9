-- A record without a time of its own is dated by when it was observed; the receiver has rejected those with neither.
INSERT INTO logs_intake
SELECT
    otlp_time(if(l.time_unix_nano != 0, l.time_unix_nano, l.observed_time_unix_nano)) AS time,
    otlp_time(l.observed_time_unix_nano) AS observed_time,
    service,
    l.severity_number AS severity_number,
    l.severity_text AS severity_text,
    otlp_text(l.body) AS body,
    l.body.kind AS body_type,
    l.event_name AS event_name,
    toFixedString(l.trace_id, 16) AS trace_id,
    toFixedString(l.span_id, 8) AS span_id,
    l.flags AS flags,
    resource,
    scope.name AS scope_name,
    scope.version AS scope_version,
    scope_attributes,
    scope_attribute_types,
    scope.dropped_attributes_count AS scope_dropped_attributes_count,
    scope_schema_url,
    otlp_attributes(l.attributes) AS attributes,
    otlp_types(l.attributes) AS attribute_types,
    l.dropped_attributes_count AS dropped_attributes_count,
    {segment:UInt64} AS segment,
    toDate(time) IN ({stored_days_logs:Array(Date)}) AS stored
FROM (
    SELECT
        service,
        resource,
        scoped.scope AS scope,
        otlp_attributes(scope.attributes) AS scope_attributes,
        otlp_types(scope.attributes) AS scope_attribute_types,
        scoped.schema_url AS scope_schema_url,
        arrayJoin(scoped.items) AS l
    FROM (
        SELECT
            otlp_attribute(r.resource.attributes, 'service.name') AS service,
            otlp_identity(r.resource, r.schema_url) AS resource,
            arrayJoin(r.scopes) AS scoped
        FROM (SELECT arrayJoin(resources) AS r FROM $source)
    )
)
