"""Which operations a statement names, and which tables: one pass over its tokens, no grammar.

What is asked is small (whose verb is it, what stands after FROM, JOIN, INTO …), so words are enough, with a note of
which parentheses they are in: `extract(year from created)` names no table, `in (select id from orders)` does.
"""

from __future__ import annotations

from collections.abc import Sequence

from watchkeeper.databases.lexer import MARK, NAME, VALUE, WORD, Token


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATIONS = _words(
    """
    ABORT ALTER ANALYZE ATTACH BEGIN CALL CHECK CHECKPOINT CLOSE CLUSTER COMMENT COMMIT COPY CREATE DEALLOCATE DECLARE
    DELETE DESC DESCRIBE DETACH DISCARD DO DROP END EXEC EXECUTE EXPLAIN FETCH FLUSH GRANT HANDLER INSERT KILL LISTEN
    LOAD LOCK MERGE MOVE NOTIFY OPTIMIZE PRAGMA PREPARE REASSIGN REFRESH REINDEX RELEASE RENAME REPAIR REPLACE RESET
    REVOKE ROLLBACK SAVEPOINT SELECT SET SHOW START TABLE TRUNCATE UNLISTEN UNLOCK UPDATE USE VACUUM VALUES WITH XA
    """
)
_MAIN = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "VALUES", "TABLE"})  # after WITH
_NAME_FOLLOWS = frozenset(
    {"INSERT", "REPLACE", "UPDATE", "MERGE", "TRUNCATE", "COPY", "LOCK", "TABLE", "VACUUM", "ANALYZE", "OPTIMIZE"}
)
_INNER = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "WITH"})  # within parentheses
_READERS = frozenset({"SELECT", "DELETE", "UPDATE", "INSERT", "REPLACE", "MERGE"})  # whose FROM names tables
_EXPLAINED = _MAIN | {"WITH"}
_DEFINERS = frozenset({"CREATE", "DROP", "ALTER", "RENAME", "COMMENT", "REFRESH"})
_PROCEDURES = frozenset({"CALL", "EXEC", "EXECUTE"})
_BEFORE_NAME = _words(
    """
    CONCURRENTLY DELAYED EXISTS HIGH_PRIORITY IF IGNORE INTO LATERAL LOCAL LOW_PRIORITY NOT NO_WRITE_TO_BINLOG ONLY OR
    QUICK REPLACE TABLE TABLES FULL FREEZE VERBOSE ANALYZE FAIL ABORT ROLLBACK
    """
)
_LIST_ENDS = _words(
    """
    WHERE GROUP ORDER HAVING LIMIT OFFSET FETCH WINDOW UNION EXCEPT INTERSECT SET VALUES RETURNING FOR SELECT QUALIFY
    PROCEDURE
    """
)
_NO_TABLES = frozenset({"OUTFILE", "DUMPFILE", "STDIN", "STDOUT", "DUAL", "SET", "VALUES", "SELECT", "DEFAULT"})
_MOST_TABLES = 20


class _Level:
    """What is known between one pair of parentheses (or outside of all)."""

    __slots__ = ("in_list", "verb")

    def __init__(self) -> None:
        self.verb: str | None = None  # None: nothing was said yet; empty: no statement begins here
        self.in_list = False  # of tables: a comma brings another


class Clauses:
    """A statement's verbs and tables. Of several statements in one text, the first one's operation counts."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.operation = ""
        self.procedure = ""  # that a CALL names
        self.table = ""  # the first one outside of all parentheses, or else the first
        self.tables: list[str] = []
        self.summary: list[str] = []  # verbs and tables in the order in which they stand
        self._tokens = tokens
        self._levels = [_Level()]
        self._defined: set[str] = set()  # names of common table expressions
        self._wanted = ""  # the word that a table's name is to follow: FROM, INTO …
        self._outermost = ""
        self._read()
        self.table = self._outermost or (self.tables[0] if self.tables else "")

    def _read(self) -> None:
        tokens, at = self._tokens, 0
        while at < len(tokens):
            kind, text = tokens[at]
            if kind == MARK:
                self._mark(text)
                at += 1
            elif kind == VALUE:
                self._wanted = ""
                self._begin("")
                at += 1
            elif self._wanted and not (kind == WORD and text.upper() in _BEFORE_NAME):
                at = self._name(at)
            else:
                if self._levels[-1].verb == "WITH" and self._after(at, "WITH", "RECURSIVE", ","):
                    self._defined.add(text)
                if kind == WORD:
                    self._word(text.upper(), at)
                else:
                    self._begin("")
                at += 1

    def _mark(self, text: str) -> None:
        level = self._levels[-1]
        if text == "(":
            self._wanted = ""
            if level.verb is not None or len(self._levels) > 1:
                self._levels.append(_Level())
        elif text == ")":
            self._wanted = ""
            if len(self._levels) > 1:
                self._levels.pop()
        elif text == ",":
            self._wanted = "FROM" if level.in_list else ""
        elif text == ";":
            self._wanted = ""
            self._levels = [_Level()]
        else:
            self._wanted = ""

    def _name(self, at: int) -> int:
        """Takes the name that begins at a token; gives the token after it."""
        tokens, parts, first = self._tokens, [self._tokens[at][1]], at
        at += 1
        while at + 1 < len(tokens) and tokens[at] == (MARK, ".") and tokens[at + 1][0] in {WORD, NAME}:
            parts.append(tokens[at + 1][1])
            at += 2
        wanted, self._wanted = self._wanted, ""
        name = ".".join(parts)
        if wanted in _PROCEDURES:
            self.procedure = self.procedure or name
            self._say(name)
        elif tokens[first][0] == WORD and parts[0].upper() in _NO_TABLES:
            self._word(parts[0].upper(), first)
        elif wanted == "FROM" and at < len(tokens) and tokens[at] == (MARK, "("):
            pass  # a function that gives rows
        elif name not in self._defined and len(self.tables) < _MOST_TABLES:
            self.tables.append(name)
            if len(self._levels) == 1:
                self._outermost = self._outermost or name
            self._say(name)
        return at

    def _word(self, word: str, at: int) -> None:
        level = self._levels[-1]
        if level.verb is None:
            self._begin(word)
        elif level.verb == "WITH":
            if word in _MAIN:
                self._begin(word)
        elif word == "SELECT" or (level.verb == "EXPLAIN" and word in _EXPLAINED):
            self._verb(word)
        elif word in _LIST_ENDS:
            level.in_list = False
        else:
            self._clause(level, word, at)

    def _clause(self, level: _Level, word: str, at: int) -> None:
        if level.verb not in _READERS:
            if level.verb in _DEFINERS and (word in {"TABLE", "VIEW"} or (word == "ON" and level.verb == "CREATE")):
                self._wanted = word
        elif word == "FROM":
            if not self._after(at, "DISTINCT"):  # IS DISTINCT FROM
                self._wanted, level.in_list = word, True
        elif word in {"JOIN", "STRAIGHT_JOIN"} or (word == "USING" and level.verb in {"DELETE", "MERGE"}):
            self._wanted, level.in_list = "FROM", True
        elif word == "INTO" and level.verb == "SELECT":
            self._wanted = word

    def _begin(self, word: str) -> None:
        """The first word of a level, or after WITH …: its verb, if it is one."""
        level = self._levels[-1]
        if level.verb is not None and level.verb != "WITH":
            return
        outermost = len(self._levels) == 1
        if word in (OPERATIONS if outermost else _INNER):
            self._verb(word)
        elif level.verb is None:
            level.verb = ""
            if outermost and not self.operation:
                self.operation = "OTHER"
                self._say("OTHER")

    def _verb(self, word: str) -> None:
        level = self._levels[-1]
        level.verb, level.in_list = word, False
        if word == "WITH":
            return
        if not self.operation and len(self._levels) == 1:
            self.operation = word
        self._say(word)
        if word in _NAME_FOLLOWS or word in _PROCEDURES:
            self._wanted = word

    def _after(self, at: int, *words: str) -> bool:
        return at > 0 and self._tokens[at - 1][1].upper() in words

    def _say(self, word: str) -> None:
        if len(self.summary) < 2 * _MOST_TABLES:
            self.summary.append(word)
