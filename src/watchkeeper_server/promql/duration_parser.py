"""What stands between brackets and behind `offset`: durations and, as an experiment, arithmetic of them."""

from __future__ import annotations

from dataclasses import replace

from watchkeeper_server.promql.cursor import Cursor, span_of
from watchkeeper_server.promql.durations import DurationError, to_milliseconds
from watchkeeper_server.promql.lexer import Token
from watchkeeper_server.promql.tree import Duration, DurationOf, Number, Span

# operands, signs and parentheses of one duration: it may be walked recursively
MOST_PARTS = 50
EXPECTED = "number, duration, step(), or range()"
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3}
_OF_SIGNED = _PRECEDENCE["^"]


class DurationParser:
    """Reads one duration; `context` and `expected` are for complaints about what is none."""

    def __init__(self, cursor: Cursor, context: str, expected: str = EXPECTED) -> None:
        self._cursor, self._context, self._expected = cursor, context, expected
        self._parts = 0

    def length(self) -> Duration:
        """An arithmetic; if it is a mere number, then of milliseconds and more than none."""
        duration = self._arithmetic(1)
        if isinstance(duration, Number) and not (duration.value > 0 and self._milliseconds(duration)):
            self._cursor.fail("duration must be greater than 0", duration.span.start, duration.span.end)
        return self._milliseconds(duration)

    def offset(self) -> Duration:
        """One operand and its signs: what follows belongs to the expression around."""
        return self._milliseconds(self._signed_operand())

    def _signed_operand(self) -> DurationOf | Number:
        if sign := self._sign():
            return _with_sign(sign, self._signed_operand())
        return self._operand()

    def _arithmetic(self, least: int) -> DurationOf | Number:
        """Operators that bind at least so tightly, and their operands."""
        cursor = self._cursor
        start = cursor.token.start
        sign = self._sign()
        left = _with_sign(sign, self._arithmetic(_OF_SIGNED)) if sign else self._operand()
        while (precedence := _PRECEDENCE.get(cursor.token.kind, 0)) >= least:
            self._experiment(start)
            operator = cursor.advance()
            right = self._arithmetic(precedence + (operator.kind != "^"))
            if operator.kind in {"/", "%"} and isinstance(right, Number) and right.value == 0:
                cursor.fail("division by zero" if operator.kind == "/" else "modulo by zero", *span_of(operator))
            left = DurationOf(operator.kind, (left, right))
        return left

    def _sign(self) -> Token | None:
        if self._cursor.token.kind not in {"+", "-"}:
            return None
        self._count()
        return self._cursor.advance()

    def _operand(self) -> DurationOf | Number:
        self._count()
        cursor, kind, start = self._cursor, self._cursor.token.kind, self._cursor.token.start
        match kind:
            case "NUMBER" | "DURATION":
                return cursor.number()
            case "(":
                cursor.advance()
                inner = self._arithmetic(1)
                self._expect(")")
                operand = DurationOf("()", (inner,))
            case "step" | "range":
                cursor.advance()
                self._expect("(")
                self._expect(")")
                operand = DurationOf(kind)
            case "min_of" | "max_of" | "min" | "max":  # the short names are those of Prometheus before 3.13
                cursor.advance()
                self._expect("(")
                first = self._arithmetic(1)
                self._expect(",")
                operand = DurationOf(kind, (first, self._arithmetic(1)))
                self._expect(")")
            case _:
                cursor.unexpected(self._context, self._expected)
        self._experiment(start)
        return operand

    def _expect(self, kind: str) -> None:
        self._cursor.expect(kind, self._context, self._expected)

    def _count(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            message = f"duration has too many parts, at most {MOST_PARTS} are allowed"
            self._cursor.fail(message, *span_of(self._cursor.token))

    def _experiment(self, start: int) -> None:
        if not self._cursor.experimental:
            self._cursor.fail("experimental duration expression is not enabled", start, self._cursor.end)

    def _milliseconds(self, duration: DurationOf | Number) -> Duration:
        if isinstance(duration, DurationOf):
            return duration
        try:
            return to_milliseconds(duration.value)
        except DurationError as error:
            self._cursor.fail(str(error), duration.span.start, duration.span.end)


def _with_sign(sign: Token, operand: DurationOf | Number) -> DurationOf | Number:
    if isinstance(operand, Number):
        value = -operand.value if sign.kind == "-" else operand.value
        return replace(operand, value=value, span=Span(sign.start, operand.span.end))
    return DurationOf("-", (operand,)) if sign.kind == "-" else operand
