-- How OTLP's values become text and keep their type. `value` is a row of wire.ANY_VALUE, `leaf` of wire.LEAF.

-- A value inside an array or a map, as JSON. What is nested deeper than that is kept as protobuf in base64, which the
-- reader expands; a double always shows a point or an exponent, so that 1.0 is not taken for 1.
CREATE FUNCTION IF NOT EXISTS otlp_json AS leaf -> multiIf(
    leaf.kind = 'string', toJSONString(leaf.string),
    leaf.kind = 'int', toString(leaf.int),
    leaf.kind = 'bool', if(leaf.bool = 1, 'true', 'false'),
    leaf.kind = 'double' AND NOT isFinite(leaf.double), concat('{"$double":"', toString(leaf.double), '"}'),
    leaf.kind = 'double', concat(toString(leaf.double), if(match(toString(leaf.double), '[.e]'), '', '.0')),
    leaf.kind = 'bytes', concat('{"$bytes":"', base64Encode(leaf.bytes), '"}'),
    leaf.kind = 'array', concat('{"$array":"', base64Encode(leaf.array), '"}'),
    leaf.kind = 'map', concat('{"$map":"', base64Encode(leaf.map), '"}'),
    'null');

-- A value: a string as it is, a number or boolean in its usual spelling, an array or map as JSON, bytes in base64.
CREATE FUNCTION IF NOT EXISTS otlp_text AS value -> multiIf(
    value.kind = 'string', value.string,
    value.kind = 'int', toString(value.int),
    value.kind = 'bool', if(value.bool = 1, 'true', 'false'),
    value.kind = 'double', toString(value.double),
    value.kind = 'array', concat('[', arrayStringConcat(arrayMap(x -> otlp_json(x), value.array.values), ','), ']'),
    value.kind = 'map', concat('{', arrayStringConcat(arrayMap(x -> concat(toJSONString(x.key), ':', otlp_json(x.value)), value.map.values), ','), '}'),
    value.kind = 'bytes', base64Encode(value.bytes),
    '');

-- Attributes whose values are of wire.LEAF: like otlp_text, but an array or map stays protobuf, in base64 like bytes.
-- The kinds are read from columns of their own: handing whole values to the lambda costs a tenth of a span's load.
CREATE FUNCTION IF NOT EXISTS otlp_attributes AS attributes -> CAST(
    mapFromArrays(
        attributes.key,
        arrayMap(
            (kind, string, int, bool, double, array, map, bytes) -> multiIf(
                kind = 'string', string,
                kind = 'int', toString(int),
                kind = 'bool', if(bool = 1, 'true', 'false'),
                kind = 'double', toString(double),
                base64Encode(concat(array, map, bytes))),
            attributes.value.kind, attributes.value.string, attributes.value.int, attributes.value.bool,
            attributes.value.double, attributes.value.array, attributes.value.map, attributes.value.bytes))
    AS $attributes);

-- The types of those attributes that are not strings: most are, so this map is small.
CREATE FUNCTION IF NOT EXISTS otlp_types AS attributes -> CAST(
    arrayFilter((pair, kind) -> kind != 'string', arrayZip(attributes.key, attributes.value.kind), attributes.value.kind)
    AS $types);

CREATE FUNCTION IF NOT EXISTS otlp_time AS nanoseconds -> fromUnixTimestamp64Nano(toInt64(nanoseconds), 'UTC');

-- An id that tells one resource (or scope) from another; `resource` is a row of wire.RESOURCE.
CREATE FUNCTION IF NOT EXISTS otlp_identity AS (thing, schema_url) -> cityHash64(toString(thing), schema_url);

CREATE FUNCTION IF NOT EXISTS otlp_attribute AS (attributes, name) -> arrayFirst(x -> x.key = name, attributes).value.string;
