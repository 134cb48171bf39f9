SELECT concat(pair.1, '=', pair.2) AS name, count() AS series
FROM (SELECT any(labels) AS labels FROM series GROUP BY id) ARRAY JOIN CAST(labels, 'Array(Tuple(String, String))') AS pair
GROUP BY name ORDER BY series DESC, name LIMIT {limit:UInt32}
