-- The TTL clause of a table, '' where it has none.
SELECT extract(create_table_query, 'TTL (.*?) SETTINGS') AS ttl FROM system.tables WHERE database = currentDatabase() AND name = {table:String}
