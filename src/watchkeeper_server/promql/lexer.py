"""A query's text as tokens.

`tokenize` never fails: text that is no token ends the list with one of kind ERROR, whose text is the message, so that
the parser can first complain about what comes before it. Whatever the text, it takes time proportional to its length.

Kinds are IDENTIFIER, METRIC_IDENTIFIER (with a colon), NUMBER, DURATION, STRING, EOF and ERROR; a symbol or keyword is
a kind of its own, in lower case.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import NamedTuple

from watchkeeper_server.promql.quoting import quote, quote_char
from watchkeeper_server.promql.signatures import AGGREGATIONS

WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})
_FILL = frozenset({"fill", "fill_left", "fill_right"})
_MODIFIERS = "offset smoothed anchored by without on ignoring group_left group_right bool"
KEYWORDS = _FILL | set(_MODIFIERS.split())
PREPROCESSORS = frozenset({"start", "end", "step", "range", "min_of", "max_of"})
_WORDS = {word: word for word in WORD_OPERATORS | KEYWORDS | PREPROCESSORS | set(AGGREGATIONS)}
_WORDS |= {"inf": "NUMBER", "nan": "NUMBER"}


class Token(NamedTuple):
    """A piece of a query; `start` is its first character's place."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """The place after its last character."""
        return self.start + len(self.text)


_BLANK = r"(?:[ \t\r\n]++|\#[^\r\n]*+)*+"
# U+FFFD stands for bytes that were no UTF-8, surrogates are no characters: neither belongs into a string
_BROKEN = r"\ufffd\ud800-\udfff"
_ESCAPE = r"""\\(?:[abfnrtv\\%s]|[0-3][0-7]{2}|x[0-9a-fA-F]{2}|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}
    |U(?:000(?:0(?![dD][89a-fA-F])|[1-9a-fA-F])|0010)[0-9a-fA-F]{4})"""
_BODIES = {
    '"': rf'(?:[^"\\\n{_BROKEN}]|{_ESCAPE % chr(34)})*+',
    "'": rf"(?:[^'\\\n{_BROKEN}]|{_ESCAPE % chr(39)})*+",
    "`": rf"[^`{_BROKEN}]*+",
}
_STRING = "(?P<STRING>" + "|".join(mark + body + mark for mark, body in _BODIES.items()) + ")"
_DIGITS = r"[0-9]++(?:_[0-9]++)*+"
_NUMBERS = rf"""
    (?P<NUMBER>
        (?:0[xX](?:_?[0-9a-fA-F]++)++
        |(?:{_DIGITS}(?:\.(?:{_DIGITS})?+)?+|\.{_DIGITS})(?:[eE][+-]?+{_DIGITS})?+)
        (?![0-9A-Za-z_.]))
    |(?P<DURATION>[0-9.]++[smhdwy]s?+(?:[0-9]++[smhdw]s?+)*+(?![0-9A-Za-z_]))
    |(?P<BAD_NUMBER>(?:0[xX][0-9a-fA-F_]*+|\.?[0-9][0-9._]*+(?:[eE][+-]?[0-9._]*+)?)
        (?:[smhdwy]s?(?:[0-9]++[smhdw]s?)*[0-9]*+[0-9A-Za-z_]?)?)
"""
_OUTSIDE = re.compile(
    rf"""{_BLANK}(?:(?P<WORD>[A-Za-z_:][A-Za-z0-9_:]*+)|(?P<SYMBOL>[=!<>]=|[<>]/|=(?!~)|[-+*/%^<>,()\[{{@])
    |{_NUMBERS}|{_STRING}|(?P<EOF>\Z))""",
    re.VERBOSE,
)
_BRACES = re.compile(
    rf"{_BLANK}(?:(?P<IDENTIFIER>[A-Za-z_][A-Za-z0-9_]*+)|(?P<SYMBOL>=~|!~|!=|=|,|\}})|{_STRING})", re.VERBOSE
)
_BRACKETS = re.compile(
    rf"""{_BLANK}(?:{_NUMBERS}|(?P<SYMBOL>[-+*/%^,():\]])
    |(?P<WORD>(?:[sS][tT][eE][pP]|[rR][aA][nN][gG][eE]|(?:[mM][iI][nN]|[mM][aA][xX])(?:_[oO][fF])?)(?![0-9A-Za-z_])))""",
    re.VERBOSE,
)
_SWITCHES = {"{": _BRACES, "}": _OUTSIDE, "[": _BRACKETS, "]": _OUTSIDE}
_SKIPPED = re.compile(_BLANK, re.VERBOSE)
_OPENING = re.compile(r"[ \t\r\n]*+\(")
_PREFIXES = {mark: re.compile(mark + body, re.VERBOSE) for mark, body in _BODIES.items()}
_DIGITS_OF_ESCAPES = {"x": (2, 16), "u": (4, 16), "U": (8, 16)} | dict.fromkeys("01234567", (3, 8))


def tokenize(text: str) -> list[Token]:
    """The tokens of a query, the last of kind EOF or ERROR."""
    found: list[Token] = []
    pattern, position, depth = _OUTSIDE, 0, 0
    while True:
        match = pattern.match(text, position)
        if match is None:
            position = _after_blank(text, position)
            return [*found, Token("ERROR", _refusal(text, position, pattern, found, depth), position)]
        kind = str(match.lastgroup)
        token = Token(kind, match[kind], match.start(kind))
        position = match.end()
        if kind == "WORD":
            token = token._replace(kind=_word_kind(token.text, text, position))
        elif kind == "SYMBOL":
            kind = token.text
            token = token._replace(kind=kind)
            depth += (kind == "(") - (kind == ")")
            pattern = _SWITCHES.get(kind, pattern)
        if kind in _SUSPECTS and (error := _objection(token, found, depth)):
            return [*found, error]
        found.append(token)
        if kind == "EOF":
            return found


_SUSPECTS = frozenset({"BAD_NUMBER", "EOF", ")", ":"})


def _word_kind(word: str, text: str, end: int) -> str:
    kind = _WORDS.get(word.lower())
    # `fill` and its like came late: metrics of that name stay usable
    if kind is None or (kind in _FILL and not _OPENING.match(text, end)):
        return "METRIC_IDENTIFIER" if ":" in word else "IDENTIFIER"
    return kind


def _objection(token: Token, found: list[Token], depth: int) -> Token | None:
    """What is wrong with a token where it stands; parentheses and colons are blamed behind them, as in Prometheus."""
    match token.kind:
        case "BAD_NUMBER":
            return Token("ERROR", f"bad number or duration syntax: {quote(token.text)}", token.start)
        case ")" if depth < 0:
            return Token("ERROR", "unexpected right parenthesis ')'", token.end)
        case "EOF" if depth > 0:
            return Token("ERROR", "unclosed left parenthesis", token.start)
        case ":" if found[-1].kind == "[":
            return Token("ERROR", "unexpected colon before duration in duration expression", token.end)
        case ":" if ":" in _in_bracket(found):
            return Token("ERROR", "unexpected colon ':'", token.start)
    return None


def _in_bracket(found: list[Token]) -> set[str]:
    """The kinds of what came since the last left bracket."""
    return {token.kind for token in takewhile(lambda token: token.kind != "[", reversed(found))}


def _after_blank(text: str, position: int) -> int:
    match = _SKIPPED.match(text, position)
    return match.end() if match else position


def _refusal(text: str, position: int, pattern: re.Pattern[str], found: list[Token], depth: int) -> str:
    """Why nothing that could follow is at `position`."""
    char = text[position : position + 1]
    if pattern is _BRACKETS:
        return _refusal_in_brackets(char, found, depth)
    if char and char in _BODIES:
        return _refusal_of_string(text, position)
    following = quote_char(text[position + 1 : position + 2] or "\ufffd")
    if pattern is _BRACES:
        return _refusal_in_braces(char, following)
    if char in {"=", "!"}:
        return f"unexpected character after '{char}': {following}"
    return "unexpected right bracket ']'" if char == "]" else f"unexpected character: {quote_char(char)}"


def _refusal_in_braces(char: str, following: str) -> str:
    if not char:
        return "unexpected end of input inside braces"
    if char == "{":
        return "unexpected left brace '{'"
    if char == "!":
        return f"unexpected character after '!' inside braces: {following}"
    return f"unexpected character inside braces: {quote_char(char)}"


def _refusal_in_brackets(char: str, found: list[Token], depth: int) -> str:
    started = bool({"NUMBER", "DURATION"} & _in_bracket(found))
    if not char and started:
        return "unclosed left parenthesis" if depth > 0 else "unclosed left bracket"
    if not char:
        return "unexpected end of input in duration expression"
    if not started:
        return f"unexpected character in duration expression: {quote_char(char)}"
    if char == "[":
        return "unexpected left bracket '['"
    return f"unexpected character: {quote_char(char)}" + (", expected ':'" if char.isascii() and char.isalpha() else "")


def _refusal_of_string(text: str, position: int) -> str:
    mark = text[position]
    match = _PREFIXES[mark].match(text, position)
    end = match.end() if match else position
    char = text[end : end + 1]
    if char == "\\":
        return _refusal_of_escape(text, end + 1)
    if char and char != "\n":
        return "invalid UTF-8 rune"
    return "unterminated raw string" if mark == "`" else "unterminated quoted string"


def _refusal_of_escape(text: str, position: int) -> str:
    char = text[position : position + 1]
    if not char:
        return "escape sequence not terminated"
    if char not in _DIGITS_OF_ESCAPES:
        return f"unknown escape sequence {_code_point(char)}"
    count, base = _DIGITS_OF_ESCAPES[char]
    start = position + (base == 16)  # noqa: PLR2004  the letter of \x is no digit of it
    digits = text[start : start + count]
    for digit in digits:
        if digit not in "0123456789abcdefABCDEF"[: 8 if base == 8 else None]:  # noqa: PLR2004
            return f"illegal character {_code_point(digit)} in escape sequence"
    return (
        "escape sequence not terminated" if len(digits) < count else "escape sequence is an invalid Unicode code point"
    )


def _code_point(char: str) -> str:
    return f"U+{ord(char):04X}" + (f" '{char}'" if char.isprintable() else "")
