-- The TTL clauses of tables, '' where one has none.
SELECT name, extract(create_table_query, 'TTL (.*?) SETTINGS') AS ttl
FROM system.tables WHERE database = currentDatabase() AND name IN {tables:Array(String)}
