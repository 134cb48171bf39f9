SELECT day, max(block) AS block FROM rolled_up GROUP BY day
