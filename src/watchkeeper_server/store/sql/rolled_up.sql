-- What is rolled up and as of which block, and whether something was deleted from it since.
SELECT day, block, seen < deletions AS deleted_from
FROM (SELECT day, max(block) AS block, max(deletions) AS seen FROM rolled_up GROUP BY day) AS made
LEFT JOIN (SELECT day, sum(deletions) AS deletions FROM sample_deletions GROUP BY day) AS deleted USING day
