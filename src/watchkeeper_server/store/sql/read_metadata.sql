-- What metrics say of themselves.
SELECT metric, CAST(type, 'String') AS type_name, unit, help
FROM metric_metadata
WHERE true
    AND metric = {metric:String}  -- if given
ORDER BY metric
LIMIT 1 BY metric, type, unit, help
