"""Files of the test language: commands become cases, each with all that must be loaded for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

from support.promqltest.cursor import Cursor, NotationError, duration
from support.promqltest.series import Series, Value, at_times, merged, read_series, with_custom_buckets
from watchkeeper_server.promql.values import Labels, Steps

_INSTANT = re.compile(r"eval(?:_(fail|warn|info|ordered))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)")
_RANGE = re.compile(r"eval(?:_(fail|warn|info))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)")
_LOAD = re.compile(r"load(_with_nhcb)?\s+(\S+)")
_EXPECT = re.compile(r"expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(msg|regex):\s*(.+))?")
_EXPECT_WINDOW = re.compile(r"expect\s+range\s+vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)")
_EXPECT_STRING = re.compile(r"expect\s+string\s+(.*)")
_OLD_FAIL = re.compile(r"expected_fail_(message|regexp)\s+(.+)")


class Message(NamedTuple):
    """What an error or a remark must be: as it was written, and what matches it."""

    text: str
    pattern: re.Pattern[str]

    def fits(self, message: str) -> bool:
        """Whether that is one."""
        return self.pattern.search(message) is not None


_ANY_MESSAGE = Message("any", re.compile(""))


class ScriptError(Exception):
    """A file that cannot be read; the message begins with file and line."""


@dataclass(slots=True)
class Expected:
    """What a query must come to: each of the remarks expected must be made, and of a kind expected no others.

    `fails` is what the error must match. `values` are series and their values at the steps of the query or of `window`.
    """

    fails: Message | None = None
    warnings: list[Message] = field(default_factory=list)
    infos: list[Message] = field(default_factory=list)
    no_warnings: bool = False
    no_infos: bool = False
    ordered: bool = False
    text: str | None = None
    scalar: float | None = None
    window: Steps | None = None
    values: list[tuple[Labels, list[Value]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Case:
    """A query with what it is asked of and what it must come to; cases with the same data share the tuple."""

    path: Path
    line: int
    query: str
    steps: Steps
    instant: bool
    data: tuple[Series, ...]
    expected: Expected

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.path}:{self.line}"


def read_script(path: Path) -> list[Case]:
    """All cases of a file.

    Raises:
        ScriptError: something in it is not well written.
    """
    return list(_Reader(path, path.read_text(encoding="utf-8").splitlines()).cases())


class _Reader:
    """Goes through the lines of one file."""

    def __init__(self, path: Path, lines: list[str]) -> None:
        self._path = path
        self._lines = ["" if line.lstrip().startswith("#") else line.strip() for line in lines]
        self._at = 0
        self._loaded: list[Series] = []
        self._data: tuple[Series, ...] = ()

    def _wrong(self, why: object) -> NoReturn:
        raise ScriptError(f"{self._path}:{self._at + 1}: {why}")

    def cases(self) -> Iterator[Case]:
        """In the file's order."""
        while self._at < len(self._lines):
            line = self._lines[self._at]
            try:
                if line.startswith("eval"):
                    yield self._case(line)
                elif line.startswith("load"):
                    self._load(line)
                elif line == "clear":
                    self._loaded, self._data = [], ()
                elif line:
                    self._wrong(f"{line!r} is no command; commands are load, clear and eval")
            except NotationError as error:
                self._wrong(error)
            self._at += 1

    def _block(self) -> Iterator[str]:
        """The lines that belong to the command, up to an empty one."""
        while self._at + 1 < len(self._lines) and self._lines[self._at + 1]:
            self._at += 1
            yield self._lines[self._at]

    def _load(self, line: str) -> None:
        command = _LOAD.fullmatch(line)
        if not command:
            self._wrong("load is written `load[_with_nhcb] STEP`")
        step = duration(command[2])
        loaded = []
        for definition in self._block():
            if definition.split()[0].endswith("@st"):
                self._wrong("start timestamps (@st) are not supported")
            labels, values = read_series(definition)
            loaded.append(Series(labels, at_times(values, step)))
        self._loaded += loaded + (with_custom_buckets(loaded) if command[1] else [])
        self._data = merged(self._loaded)

    def _case(self, line: str) -> Case:
        number = self._at + 1
        expected = Expected()
        if instant := _INSTANT.fullmatch(line):
            kind, at, query = instant.groups()
            time = duration(at) if at else 0
            steps = Steps(time, time, 0)
        elif ranged := _RANGE.fullmatch(line):
            kind, start, end, step, query = ranged.groups()
            steps = _steps(start, end, step)
        else:
            self._wrong(
                "eval is written `eval instant [at TIME] QUERY` or `eval range from TIME to TIME step STEP QUERY`"
            )
        if kind:
            _expect(expected, kind, _ANY_MESSAGE)
        for text in self._block():
            self._expectation(expected, text)
        many = any(len(values) > 1 for _, values in expected.values)
        if instant and many and not expected.window:
            self._wrong(
                "several values of an instant query need a line `expect range vector from TIME to TIME step STEP`"
            )
        return Case(self._path, number, query, steps, bool(instant), self._data, expected)

    def _expectation(self, expected: Expected, text: str) -> None:
        """One line after `eval`."""
        if text.split(maxsplit=1)[0] == "expect":
            self._expect_line(expected, text)
        elif expected.fails and (old := _OLD_FAIL.fullmatch(text)):
            expected.fails = _message("msg" if old[1] == "message" else "regex", old[2])
        elif (number := _scalar(text)) is not None:
            expected.scalar = number
        else:
            labels, values = read_series(text)
            if not values:
                self._wrong(f"{text!r} says no value")
            expected.values.append((labels, values))

    def _expect_line(self, expected: Expected, text: str) -> None:
        if window := _EXPECT_WINDOW.fullmatch(text):
            expected.window = _steps(*window.groups())
        elif string := _EXPECT_STRING.fullmatch(text):
            expected.text = Cursor(string[1]).string()
        elif remark := _EXPECT.fullmatch(text):
            kind, how, what = remark.groups()
            try:
                message = _message(how, what)
            except re.error as error:
                self._wrong(f"{what} is no regular expression: {error}")
            _expect(expected, kind, message)
        else:
            self._wrong(
                "expect is followed by ordered, fail, warn, info (these three with `msg: …` or `regex: …` if wanted), "
                'no_warn, no_info, string "…" or range vector from TIME to TIME step STEP'
            )
        if (expected.warnings and expected.no_warnings) or (expected.infos and expected.no_infos):
            self._wrong("remarks cannot be both expected and not")


def _expect(expected: Expected, kind: str, message: Message) -> None:
    """One thing expected, by the word for it."""
    match kind:
        case "fail":
            expected.fails = message
        case "warn":
            expected.warnings.append(message)
        case "info":
            expected.infos.append(message)
        case "no_warn":
            expected.no_warnings = True
        case "no_info":
            expected.no_infos = True
        case "ordered":
            expected.ordered = True


def _steps(start: str, end: str, step: str) -> Steps:
    steps = Steps(duration(start), duration(end), duration(step))
    if steps.end < steps.start or not steps.step:
        raise NotationError(f"from {start} to {end} step {step} is no range: it ends before it starts or has no step")
    return steps


def _message(how: str | None, what: str | None) -> Message:
    """What matches a whole message, a part of one, or any; where in the query it applies may follow unsaid."""
    if what is None:
        return _ANY_MESSAGE
    return Message(what, re.compile(rf"\A{re.escape(what)}( \(\d+:\d+\))?\Z" if how == "msg" else what))


def _scalar(text: str) -> float | None:
    """The number that a line is, if it is one."""
    try:
        return float(int(text, 16)) if text.lower().lstrip("+-").startswith("0x") else float(text)
    except ValueError:
        return None
