ALTER TABLE ${variant} DROP PARTITION ID {partition:String}
