-- At once, also by nothing; `variant` is the table.
ALTER TABLE ${variant} REPLACE PARTITION {day:String} FROM ${variant}_new SETTINGS allow_replace_partition_from_empty_source = 1
