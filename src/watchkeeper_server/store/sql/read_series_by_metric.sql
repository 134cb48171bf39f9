SELECT metric AS name, uniqExact(id) AS series FROM series GROUP BY name ORDER BY series DESC, name LIMIT {limit:UInt32}
