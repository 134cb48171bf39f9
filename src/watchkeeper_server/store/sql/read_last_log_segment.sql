SELECT max(segment) AS segment FROM logs
