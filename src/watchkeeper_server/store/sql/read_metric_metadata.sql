SELECT metric AS name, CAST(type, 'String') AS type_name, unit, help
FROM metric_metadata FINAL
WHERE metric IN {names:Array(String)}
