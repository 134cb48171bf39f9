"""Reading from left to right what a line of the test language is made of: numbers, strings, labels, durations."""

from __future__ import annotations

import re

from watchkeeper_server.promql.values import METRIC_NAME

_IDENTIFIER = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_WORD = re.compile(r"[a-z_]+")
# No sign, no hexadecimal: in a series `0x3` is three more zeros.
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan", re.IGNORECASE)
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_UNITS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|`([^`]*)`")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))")
_NAMED_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class NotationError(ValueError):
    """Text that is not what it should be; the message says what was expected and what is there."""


class Cursor:
    """A place in a line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    @property
    def rest(self) -> str:
        """What has not been read."""
        return self.text[self.at :]

    @property
    def done(self) -> bool:
        """Whether there is nothing left."""
        return self.at >= len(self.text)

    def spaces(self) -> None:
        """Skips spaces."""
        self.at = len(self.text) - len(self.rest.lstrip())

    def take(self, literal: str) -> bool:
        """Reads this if it is next."""
        found = self.text.startswith(literal, self.at)
        self.at += len(literal) if found else 0
        return found

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Reads what matches, if anything does."""
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def expect(self, literal: str) -> None:
        """Reads this."""
        if not self.take(literal):
            raise self.wrong(f"`{literal}`")

    def wrong(self, expected: str) -> NotationError:
        """Something else is here."""
        return NotationError(
            f"expected {expected} at column {self.at + 1}, got {self.rest!r}"
            if self.rest
            else f"expected {expected} at the end of {self.text!r}"
        )

    def identifier(self) -> str:
        """A metric's or label's name without quotes."""
        found = self.match(_IDENTIFIER)
        if not found:
            raise self.wrong("a name")
        return found[0]

    def word(self) -> str:
        """One of the language's own words."""
        found = self.match(_WORD)
        if not found:
            raise self.wrong("a word")
        return found[0]

    def string(self) -> str:
        """A string between quotes or backticks."""
        found = self.match(_QUOTED)
        if not found:
            raise self.wrong("a string in quotes")
        double, single, raw = found.groups()
        return raw if raw is not None else _ESCAPE.sub(_unescaped, single if double is None else double)

    def number(self, sign: bool = True) -> float:
        """A number, signed if allowed."""
        start = self.at
        factor = -1.0 if sign and self.take("-") else 1.0
        if sign and factor > 0:
            self.take("+")
        found = self.match(_NUMBER)
        if not found:
            self.at = start
            raise self.wrong("a number")
        return factor * float(found[0])

    def labels(self) -> dict[str, str]:
        """`name{a="1"}`, `{"a name", "a label"="1"}` or `{}`."""
        labels = {}
        if not self.text.startswith("{", self.at):
            labels[METRIC_NAME] = self.identifier()
        if self.take("{"):
            self.spaces()
            while not self.take("}"):
                quoted = self.text[self.at : self.at + 1] in tuple("\"'`")
                name = self.string() if quoted else self.identifier()
                self.spaces()
                if self.take("="):
                    self.spaces()
                    labels[name] = self.string()
                elif quoted:
                    labels[METRIC_NAME] = name
                else:
                    raise self.wrong("`=`")
                self.spaces()
                if not self.take(","):
                    self.spaces()
                    self.expect("}")
                    break
                self.spaces()
        return {name: value for name, value in labels.items() if value}


def _unescaped(escape: re.Match[str]) -> str:
    two, four, eight, octal, other = escape.groups()
    if other is not None:
        return _NAMED_ESCAPES.get(other, other)
    return chr(int(octal, 8) if octal else int(two or four or eight, 16))


def duration(text: str) -> int:
    """`1h30m` or `0` as milliseconds.

    Raises:
        NotationError: it is none.
    """
    found = _DURATION.fullmatch(text)
    if text == "0":
        return 0
    if not found or not text:
        raise NotationError(f"expected a duration such as 5m or 1h30m, got {text!r}")
    return sum(int(count) * unit for count, unit in zip(found.groups(), _UNITS, strict=True) if count)
