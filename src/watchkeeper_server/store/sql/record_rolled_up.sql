INSERT INTO rolled_up VALUES ({day:Date}, {block:UInt64})
