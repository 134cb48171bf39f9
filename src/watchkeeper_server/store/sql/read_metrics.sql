-- Metrics with a series seen in the range, and how many.
SELECT name, count() AS series_count
FROM (
    SELECT metric AS name, id
    FROM series
    WHERE startsWith(metric, {prefix:String})
        AND (labels['job'] = {service:String} OR endsWith(labels['job'], concat('/', {service:String})))  -- if given
    GROUP BY name, id
    HAVING max(last_seen) >= toStartOfSecond({start:DateTime64(9, 'UTC')}) AND min(first_seen) < {end:DateTime64(9, 'UTC')}
)
GROUP BY name
ORDER BY name
LIMIT {limit:UInt32}
