"""What is read from SQL text."""
# ruff: noqa: S608  # the names in these statements are the tests' own

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.databases.lexer import ANSI, MYSQL, Dialect
from watchkeeper.databases.queries import sql_text
from watchkeeper.databases.statements import (
    LONGEST_SUMMARY,
    MOST_CHARACTERS,
    MOST_REMEMBERED,
    MOST_REMEMBERED_CHARACTERS,
    Statements,
    analysed,
)

CASES = [
    # text, operation, table, summary, text without literals (None: as it is)
    ("SELECT 1", "SELECT", "", "SELECT", "SELECT ?"),
    ("select * from orders where id = 7", "SELECT", "orders", "SELECT orders", "select * from orders where id = ?"),
    (
        'SELECT a FROM public."Orders" x, b LEFT JOIN c ON c.id = b.id WHERE n = \'it\'\'s\'',
        "SELECT",
        "public.Orders",
        "SELECT public.Orders b c",
        'SELECT a FROM public."Orders" x, b LEFT JOIN c ON c.id = b.id WHERE n = ?',
    ),
    (
        'WITH r AS (SELECT * FROM a), "q" (x) AS (SELECT 1 FROM r) INSERT INTO t (x) SELECT x FROM r, q',
        "INSERT",
        "t",
        "SELECT a SELECT INSERT t SELECT",
        'WITH r AS (SELECT * FROM a), "q" (x) AS (SELECT ? FROM r) INSERT INTO t (x) SELECT x FROM r, q',
    ),
    ("WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r", "SELECT", "", "SELECT SELECT",
     "WITH RECURSIVE r AS (SELECT ?) SELECT * FROM r"),
    ("INSERT INTO t SELECT * FROM s", "INSERT", "t", "INSERT t SELECT s", None),
    ("INSERT INTO t (a, b) VALUES ($1::INTEGER, $2::NUMERIC(10, 2)), ($3, $4)", "INSERT", "t", "INSERT t",
     "INSERT INTO t (a, b) VALUES (?)"),
    ("INSERT OR REPLACE INTO t VALUES (1)", "INSERT", "t", "INSERT t", "INSERT OR REPLACE INTO t VALUES (?)"),
    ("UPDATE ONLY t SET a = b.x FROM b WHERE c IS DISTINCT FROM d", "UPDATE", "t", "UPDATE t b", None),
    ("DELETE FROM s.t USING u WHERE extract(year FROM made) > 3", "DELETE", "s.t", "DELETE s.t u",
     "DELETE FROM s.t USING u WHERE extract(year FROM made) > ?"),
    ("MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE", "MERGE", "t", "MERGE t s", None),
    ("SELECT a, (SELECT count(*) FROM items) FROM orders ORDER BY a, b FOR UPDATE OF orders", "SELECT", "orders",
     "SELECT SELECT items orders", None),
    ("SELECT * FROM (SELECT * FROM orders) AS x, customers", "SELECT", "customers", "SELECT SELECT orders customers",
     None),
    ("(SELECT 1 FROM a) UNION (SELECT 2 FROM b)", "SELECT", "a", "SELECT a SELECT b",
     "(SELECT ? FROM a) UNION (SELECT ? FROM b)"),
    ("SELECT * FROM generate_series(1, 2) g, t", "SELECT", "t", "SELECT t", "SELECT * FROM generate_series(?) g, t"),
    ("SELECT id FROM t WHERE id IN (%s, %s,%s) AND x = ANY (ARRAY[%(a)s::INT, %(b)s::INT])", "SELECT", "t", "SELECT t",
     "SELECT id FROM t WHERE id IN (?) AND x = ANY (ARRAY[?])"),
    ("SELECT id FROM t WHERE id IN (1) AND y = :name AND z = ?", "SELECT", "t", "SELECT t",
     "SELECT id FROM t WHERE id IN (?) AND y = :name AND z = ?"),
    ("COPY t (a, b) FROM STDIN", "COPY", "t", "COPY t", None),
    ("COPY (SELECT * FROM x WHERE a = 'b') TO STDOUT", "COPY", "x", "COPY SELECT x",
     "COPY (SELECT * FROM x WHERE a = ?) TO STDOUT"),
    ("CALL settle(1, 'x')", "CALL", "", "CALL settle", "CALL settle(?)"),
    ("BEGIN", "BEGIN", "", "BEGIN", "BEGIN"),
    ("commit;", "COMMIT", "", "COMMIT", "commit;"),
    ("SELECT 1 FROM a; DELETE FROM b;", "SELECT", "a", "SELECT a DELETE b", "SELECT ? FROM a; DELETE FROM b;"),
    ("CREATE TABLE IF NOT EXISTS s.t (id int REFERENCES o (id), x text DEFAULT 'a')", "CREATE", "s.t", "CREATE s.t",
     "CREATE TABLE IF NOT EXISTS s.t (id int REFERENCES o (id), x text DEFAULT ?)"),
    ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (x)", "CREATE", "t", "CREATE t", None),
    ("DROP TABLE IF EXISTS t", "DROP", "t", "DROP t", None),
    ("ALTER TABLE ONLY t ADD x int", "ALTER", "t", "ALTER t", None),
    ("TRUNCATE TABLE t", "TRUNCATE", "t", "TRUNCATE t", None),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "REFRESH", "v", "REFRESH v", None),
    ("EXPLAIN ANALYZE SELECT * FROM t", "EXPLAIN", "t", "EXPLAIN SELECT t", None),
    ("SET statement_timeout = 5", "SET", "", "SET", "SET statement_timeout = ?"),
    ("/* a /* nested */ 'b' */ -- and ' this\nSELECT 2 -- end", "SELECT", "", "SELECT", "SELECT ?"),
    ("DO $body$ it's $$ 5 $body$", "DO", "", "DO", "DO ?"),
    ("SELECT $$a'b$$, E'c\\'d', x'41', -1.5e-3, .5, 0xFF, n_1", "SELECT", "", "SELECT",
     "SELECT ?, ?, x?, -?, ?, ?, n_1"),
    ("SELECT 'C:\\' , 'it goes on' FROM t", "SELECT", "", "SELECT", "SELECT ?"),  # or 'C:\' , ' and then what?
    ("SELECT * FROM t WHERE a = 'never closed", "SELECT", "t", "SELECT t", "SELECT * FROM t WHERE a = ?"),
    ("frobnicate the table", "OTHER", "", "OTHER", "frobnicate the table"),
    ("'just a literal'", "OTHER", "", "OTHER", "?"),
    ("SELECT q'[it's secret]' FROM t", "SELECT", "", "SELECT", "SELECT q?"),  # Oracle's, which ends elsewhere
    ("", "", "", "", ""),
    (" ; -- a ping", "", "", "", ""),
]  # fmt: skip
MYSQL_CASES = [
    ("SELECT \"it\\\"s\", 'a\\'b' FROM `my``t`.`u` # x ' y\nWHERE a = 5--1", "SELECT", "my`t.u", "SELECT my`t.u",
     "SELECT ?, ? FROM `my``t`.`u` WHERE a = ?--?"),
    ("REPLACE INTO t SET a = 1", "REPLACE", "t", "REPLACE t", "REPLACE INTO t SET a = ?"),
    ("INSERT IGNORE t VALUES (%s) ON DUPLICATE KEY UPDATE a = VALUES(a)", "INSERT", "t", "INSERT t",
     "INSERT IGNORE t VALUES (?) ON DUPLICATE KEY UPDATE a = VALUES(a)"),
    ("LOCK TABLES a WRITE", "LOCK", "a", "LOCK a", None),
    ("SELECT a INTO OUTFILE '/tmp/x' FROM t", "SELECT", "t", "SELECT t", "SELECT a INTO OUTFILE ? FROM t"),
    ("SELECT @x := 5, @@version", "SELECT", "", "SELECT", "SELECT @x := ?, @@version"),
    ("SELECT '''it's secret''' FROM t", "SELECT", "", "SELECT", "SELECT ?"),  # BigQuery's, which ends elsewhere
    ("SELECT '', 'it''s' FROM t", "SELECT", "t", "SELECT t", "SELECT ?, ? FROM t"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "sql", "operation", "table", "summary", "text"),
    [(ANSI, *case) for case in CASES] + [(MYSQL, *case) for case in MYSQL_CASES],
)
def test_a_statement_tells_its_operation_its_tables_and_no_literal(
    dialect: Dialect, sql: str, operation: str, table: str, summary: str, text: str | None
) -> None:
    found = analysed(sql, dialect)
    assert (found.operation, found.table, found.summary) == (operation, table, summary)
    assert found.text == (sql if text is None else text)


def test_a_collection_is_named_where_there_is_one_only() -> None:
    class Nowhere:
        attributes: dict[str, object] = {}  # noqa: RUF012

    def told(sql: str) -> object:
        return analysed(sql, ANSI).attributes(Nowhere())

    assert told("SELECT 1 FROM a")["db.collection.name"] == "a"
    assert "db.collection.name" not in told("SELECT 1 FROM a JOIN b ON true")
    assert told("CALL settle()")["db.stored_procedure.name"] == "settle"


SECRET = "S3CR3T"
PLAIN = st.sampled_from(
    ["SELECT", " ", ",", "(", ")", "FROM", "t", "a.b", "=", "IN", "WHERE", "INSERT INTO", "WITH", ";", ".", "*", "AS",
     "JOIN", "VALUES", "%s", "$1", ":x", "::", "?", "\n", "--x\n", "/* ' */", "é", "\x00", "1", "LIKE", "E", "N"]
)  # fmt: skip
AROUND = st.text("ab '\"\\$-/*\n#`%;1(", max_size=6)


def ansi_literal(inside: tuple[str, str]) -> str:
    return "'" + (inside[0] + SECRET + inside[1]).replace("'", "''") + "'"


def escaped_literal(inside: tuple[str, str]) -> str:
    return "E'" + (inside[0] + SECRET + inside[1]).replace("\\", "\\\\").replace("'", "\\'") + "'"


def dollar_literal(inside: tuple[str, str]) -> str:
    return "$q$" + (inside[0] + SECRET + inside[1]).replace("$", "") + "$q$"


def mysql_literal(inside: tuple[str, str]) -> str:
    return "'" + (inside[0] + SECRET + inside[1]).replace("\\", "\\\\").replace("'", "\\'") + "'"


def double_quoted_literal(inside: tuple[str, str]) -> str:
    return '"' + (inside[0] + SECRET + inside[1]).replace("\\", "\\\\").replace('"', '""') + '"'


def texts(*literals: Callable[[tuple[str, str]], str]) -> st.SearchStrategy[str]:
    literal = st.one_of([st.tuples(AROUND, AROUND).map(kind) for kind in literals])
    # A literal stands by itself: glued to a word before it, it would be something else.
    return st.lists(st.one_of(PLAIN, literal.map(lambda text: f" {text} "))).map("".join)


@given(texts(ansi_literal, escaped_literal, dollar_literal))
def test_no_literal_of_postgresql_gets_through(sql: str) -> None:
    found = analysed(sql, ANSI)
    assert SECRET not in found.text + found.summary + found.table


@given(texts(mysql_literal, double_quoted_literal))
def test_no_literal_of_mysql_gets_through(sql: str) -> None:
    found = analysed(sql, MYSQL)
    assert SECRET not in found.text + found.summary + found.table


@given(st.text(), st.sampled_from([ANSI, MYSQL]))
def test_no_text_is_too_strange(sql: str, dialect: Dialect) -> None:
    found = analysed(sql, dialect)
    assert len(found.text) <= len(sql)
    assert len(found.summary) <= LONGEST_SUMMARY


@pytest.mark.parametrize("piece", ["(", "'", "%(", "$a$", "/*", "1,", "a.", '"', "--", "\\", "E'\\", "x ", "::", "?,("])
@pytest.mark.parametrize("dialect", [ANSI, MYSQL])
def test_of_megabytes_only_the_beginning_is_read(piece: str, dialect: Dialect) -> None:
    statements = Statements(dialect)
    found = statements.of("SELECT " + piece * (4_000_000 // len(piece)))
    assert len(found.text) <= MOST_CHARACTERS + 1
    assert sum(len(key) for key in statements._young) <= MOST_CHARACTERS


def test_steps_grow_with_the_length_and_no_faster() -> None:
    def steps(length: int) -> int:
        count = 0

        def step(*_args: object) -> None:
            nonlocal count
            count += 1

        sql = "SELECT " + "f(a, 'b', %(c)s) + " * length
        sys.setprofile(step)
        try:
            analysed(sql, ANSI)
        finally:
            sys.setprofile(None)
        return count

    assert steps(200) < 2.5 * steps(100)


def test_statements_are_remembered_within_bounds() -> None:
    statements = Statements(ANSI)
    first = statements.of("SELECT 1")
    assert statements.of("SELECT 1") is first
    for at in range(3 * MOST_REMEMBERED):
        statements.of(f"SELECT {at} FROM t")
    assert len(statements._young) <= MOST_REMEMBERED
    assert len(statements._old) <= MOST_REMEMBERED
    for at in range(2_000):
        statements.of(f"SELECT '{at}', '{'x' * 3_000}' FROM t")
    assert sum(map(len, statements._young)) <= MOST_REMEMBERED_CHARACTERS
    assert sum(map(len, statements._old)) <= MOST_REMEMBERED_CHARACTERS
    assert statements.of("SELECT 1") is not first


def test_what_is_used_often_is_not_forgotten() -> None:
    statements = Statements(ANSI)
    often = statements.of("SELECT 1")
    for at in range(3 * MOST_REMEMBERED):
        statements.of(f"SELECT {at} FROM t")
        assert statements.of("SELECT 1") is often


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT 1", "SELECT 1"),
        (b"SELECT \xff", "SELECT �"),
        (bytearray(b"SELECT 1"), "SELECT 1"),
        (memoryview(b"SELECT 1"), "SELECT 1"),
        (None, ""),
        (7, ""),
    ],
)
def test_a_statement_may_be_text_or_bytes(sql: object, text: str) -> None:
    assert sql_text(sql) == text
