INSERT INTO schema_migrations (name) SELECT arrayJoin({names:Array(String)})
