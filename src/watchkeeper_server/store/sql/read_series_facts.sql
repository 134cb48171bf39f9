-- How many series there are, and from when to when.
SELECT uniqExact(id) AS series, toUnixTimestamp(min(first_seen)) AS first, toUnixTimestamp(max(last_seen)) AS last FROM series
