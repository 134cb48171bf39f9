-- For each label: its values, how long they are together, and in all pairs.
SELECT
    pair.1 AS name, uniqExact(pair.2) AS label_values, sum(length(pair.2)) AS bytes
FROM (SELECT any(labels) AS labels FROM series GROUP BY id) ARRAY JOIN CAST(labels, 'Array(Tuple(String, String))') AS pair
GROUP BY name
