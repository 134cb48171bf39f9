INSERT INTO rolled_up SELECT {day:Date}, {block:UInt64}, (SELECT sum(deletions) FROM sample_deletions WHERE day = {day:Date})
