-- Metrics with a series seen in the range, and how many.
SELECT name, count() AS series_count
FROM (
    SELECT metric AS name, id
    FROM ${variant}
    WHERE startsWith(metric, {prefix:String}) AND last_seen >= toStartOfSecond({start:DateTime64(9, 'UTC')}) AND first_seen < {end:DateTime64(9, 'UTC')}
        AND (labels['job'] = {service:String} OR endsWith(labels['job'], concat('/', {service:String})))  -- if given
    GROUP BY name, id
)
GROUP BY name
ORDER BY name
LIMIT {limit:UInt32}
