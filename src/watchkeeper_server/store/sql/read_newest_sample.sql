-- The time of the newest sample, Unix milliseconds, and how many samples there are.
SELECT toUnixTimestamp64Milli(max(time)) AS newest, count() AS samples FROM samples
