"""SQL text as tokens, and the same text without its literals.

A literal is never taken for anything else: strings of each kind, dollar quotes, numbers and comments are read as the
dialect's own lexer does. Where a quote is not closed, or can be read in two ways, all that follows is left out. The
time is linear in the text's length.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

WORD, NAME, VALUE, MARK = range(4)  # a word, a quoted identifier, a literal or placeholder, anything else

Token = tuple[int, str]


class Dialect(NamedTuple):
    """How a family of databases writes what is not plain words."""

    pattern: re.Pattern[str]
    comments_nest: bool
    backslashes: bool  # escape in every string


_COMMON = r"""
    (?P<space>\s++)
  | (?P<block>/\*)
  | (?P<placeholder>\?|\$\d++|%\([^()]{0,64}\)[sbt]|%[sbt]\b|(?<![:\w]):[^\W\d]\w*+)
  | (?P<number>\d[\w.]*+(?:(?<=[eE])[+-]\d++)?|\.\d\w*+)
  | (?P<word>[^\W\d][\w$]*+)
  | (?P<open>['"`])
  | (?P<mark>::|.)
"""

ANSI = Dialect(
    re.compile(
        r"""
            (?P<line>--[^\n\r]*+)
          | (?P<escaped>[eE]'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+')
          | (?P<string>'[^']*+(?:''[^']*+)*+')
          | (?P<name>"[^"]*+(?:""[^"]*+)*+"|`[^`]*+(?:``[^`]*+)*+`)
          | (?P<dollar>\$(?:[^\W\d]\w*+)?\$)
          |
        """
        + _COMMON,
        re.VERBOSE | re.DOTALL,
    ),
    comments_nest=True,
    backslashes=False,
)
MYSQL = Dialect(
    re.compile(
        r"""
            (?P<line>(?:--(?=\s|\Z)|\#)[^\n]*+)
          | (?P<string>'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'|"[^"\\]*+(?:(?:\\.|"")[^"\\]*+)*+")
          | (?P<name>`[^`]*+(?:``[^`]*+)*+`)
          |
        """
        + _COMMON,
        re.VERBOSE | re.DOTALL,
    ),
    comments_nest=False,
    backslashes=True,
)

_COMMENT_MARKS = re.compile(r"/\*|\*/")


class _Reading(Enum):
    """What the text of a token becomes."""

    SPACE = 0
    LITERAL = 1
    REST_IS_LITERAL = 2


def read(sql: str, dialect: Dialect) -> tuple[list[Token], str]:
    """The tokens of a text, without space and comments, and the text with `?` for each literal."""
    tokens: list[Token] = []
    pieces: list[str] = []
    match = dialect.pattern.match
    at, length = 0, len(sql)
    while at < length:
        found = match(sql, at)
        if found is None:  # cannot be: the last alternative takes any character
            break
        kind, text, at = found.lastgroup, found.group(), found.end()
        if kind == "word":
            tokens.append((WORD, text))
            pieces.append(text)
        elif kind == "mark":
            tokens.append((MARK, text))
            pieces.append(text)
        elif kind == "placeholder":
            tokens.append((VALUE, text))
            pieces.append(text)
        elif kind == "name":
            tokens.append((NAME, text[1:-1].replace(text[0] * 2, text[0])))
            pieces.append(text)
        else:
            reading, at = _other(kind, text, sql, at, dialect)
            if reading is _Reading.SPACE:
                if pieces and pieces[-1] != " ":
                    pieces.append(" ")
                continue
            tokens.append((VALUE, "?"))
            pieces.append("?")
            if reading is _Reading.REST_IS_LITERAL:
                break
    return tokens, "".join(pieces).rstrip()


def _other(kind: str | None, text: str, sql: str, at: int, dialect: Dialect) -> tuple[_Reading, int]:
    """What space, comments and literals become, and where the next token begins."""
    if kind in {"space", "line"}:
        return _Reading.SPACE, at
    if kind == "block":
        return _Reading.SPACE, _end_of_comment(sql, at, dialect.comments_nest)
    if kind == "dollar":
        end = sql.find(text, at)
        return (_Reading.LITERAL, end + len(text)) if end >= 0 else (_Reading.REST_IS_LITERAL, at)
    if kind == "open" or (kind == "string" and _may_end_elsewhere(text, sql, at, dialect)):
        return _Reading.REST_IS_LITERAL, at
    return _Reading.LITERAL, at


def _may_end_elsewhere(text: str, sql: str, at: int, dialect: Dialect) -> bool:
    """Whether some database of the dialect reads a string that ends before `at` in another way."""
    if dialect.backslashes:
        return text.startswith(("'''", '"""'))  # for BigQuery, what begins so ends so
    # A backslash is an escape for some servers, and others may be told so. What Oracle's q'[…]' begins has its own end.
    start = at - len(text)
    return "\\'" in text or (start > 0 and sql[start - 1] in "qQ")


def _end_of_comment(sql: str, at: int, nests: bool) -> int:
    """Where the comment that was opened before `at` ends."""
    if not nests:
        end = sql.find("*/", at)
        return end + 2 if end >= 0 else len(sql)
    depth = 1
    for mark in _COMMENT_MARKS.finditer(sql, at):
        depth += 1 if mark.group() == "/*" else -1
        if not depth:
            return mark.end()
    return len(sql)
