"""The place in a query that the parser has come to, what can be read there, and the complaints it can make."""

from __future__ import annotations

from math import isinf
from typing import NoReturn

from watchkeeper_server.promql.durations import DurationError, parse_duration
from watchkeeper_server.promql.lexer import KEYWORDS, WORD_OPERATORS, Token, tokenize
from watchkeeper_server.promql.positions import parse_error
from watchkeeper_server.promql.quoting import quote
from watchkeeper_server.promql.signatures import AGGREGATIONS
from watchkeeper_server.promql.tree import Number, Span

_KINDS = {
    "IDENTIFIER": "identifier",
    "METRIC_IDENTIFIER": "metric identifier",
    "STRING": "string",
    "NUMBER": "number",
    "DURATION": "duration",
}
_SYMBOLS = {"+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">=", "</", ">/", "=~", "!~", "@"}
_OPERATORS = WORD_OPERATORS | _SYMBOLS
# how much of a literal a message shows
_SHOWN = 10


class Cursor:
    """Tokens read one after the other: `token` is the next, `end` the place after the last one read.

    `experimental` allows what Prometheus has behind feature flags.
    """

    def __init__(self, text: str, *, experimental: bool) -> None:
        self.text, self.experimental = text, experimental
        self.token, *rest = tokenize(text)
        self._rest = rest[::-1]
        self.end = 0

    @property
    def following(self) -> str:
        """The kind of the token after the next."""
        return self._rest[-1].kind if self._rest else "EOF"

    def advance(self) -> Token:
        """Read the next token."""
        token = self.token
        self.end = token.end
        if self._rest:
            self.token = self._rest.pop()
        return token

    def skip(self, kind: str) -> bool:
        """Read the next token if it is of that kind."""
        if self.token.kind != kind:
            return False
        self.advance()
        return True

    def expect(self, kind: str, context: str = "", expected: str = "") -> Token:
        """Read the next token, which has to be of that kind."""
        if self.token.kind != kind:
            self.unexpected(context, expected)
        return self.advance()

    def number(self) -> Number:
        """Read a number, or a duration: a number of seconds."""
        token = self.advance()
        span = Span(token.start, token.end)
        if token.kind == "NUMBER":
            return Number(self._float(token), span=span)
        try:
            return Number(parse_duration(token.text) / 1000, duration=True, span=span)
        except DurationError as error:
            self.fail(str(error), *span_of(token))

    def fail(self, message: str, start: int, end: int) -> NoReturn:
        """Complain about characters `start` to `end`."""
        raise parse_error(self.text, message, start, end)

    def unexpected(self, context: str = "", expected: str = "") -> NoReturn:
        """Complain about the next token."""
        token = self.token
        if token.kind == "ERROR":
            self.fail(token.text, token.start, len(self.text))
        message = f"unexpected {_described(token)}"
        if context:
            message += f" in {context}"
        if expected:
            message += f", expected {expected}"
        self.fail(message, *span_of(token))

    def _float(self, token: Token) -> float:
        """A number as Go reads it: a leading zero makes it octal where that is possible."""
        digits = token.text.replace("_", "").lower()
        try:
            if digits.startswith("0x"):
                return float(int(digits, 16))
            if digits.startswith("0") and digits.isdigit() and not {"8", "9"} & {*digits}:
                return float(int(digits, 8))
            value = float(digits)
        except OverflowError:
            value = float("inf")
        if isinf(value) and digits != "inf":
            reason = f"strconv.ParseFloat: parsing {quote(token.text)}: value out of range"
            self.fail(f"error parsing number: {reason}", *span_of(token))
        return value


def span_of(token: Token) -> tuple[int, int]:
    """The characters that a token is made of."""
    return token.start, token.end


def _described(token: Token) -> str:
    """A token as messages name it."""
    kind, text = token.kind, token.text
    if kind == "EOF":
        return "end of input"
    if kind in {"IDENTIFIER", "METRIC_IDENTIFIER"}:
        return f"{_KINDS[kind]} {quote(text)}"
    if kind in KEYWORDS:
        return f"<{text}>"
    if kind in _OPERATORS:
        return f"<op:{text}>"
    if kind in AGGREGATIONS:
        return f"<aggr:{text}>"
    shown = quote(text[:_SHOWN]) + ("..." if len(text) > _SHOWN else "")
    return f"{_KINDS[kind]} {shown}" if kind in _KINDS else shown
