-- The resources of a segment, of any signal. Storing one twice is harmless: it is keyed by its content.
INSERT INTO resources
SELECT
    otlp_identity(r.resource, r.schema_url) AS id,
    otlp_attribute(r.resource.attributes, 'service.name') AS service,
    otlp_attributes(r.resource.attributes) AS attributes,
    otlp_types(r.resource.attributes) AS attribute_types,
    r.resource.dropped_attributes_count AS dropped_attributes_count,
    r.schema_url AS schema_url
FROM (SELECT arrayJoin(resources) AS r FROM $source)
LIMIT 1 BY id
