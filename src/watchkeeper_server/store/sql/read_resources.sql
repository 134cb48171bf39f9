SELECT
    toString(id) AS resource_id,
    toJSONString(attributes) AS attribute_texts,
    toJSONString(attribute_types) AS attribute_type_names,
    dropped_attributes_count,
    schema_url
FROM resources
WHERE id IN {ids:Array(UInt64)}
LIMIT 1 BY id
