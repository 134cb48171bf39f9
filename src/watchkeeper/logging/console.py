"""How a record looks to a person at a terminal: time, level, message, fields, and below it an error's traceback.

In a traceback the application's own frames stand out, those of libraries step back, and the error comes in red.
"""

from __future__ import annotations

import os
import re
import sysconfig
from datetime import datetime
from typing import Any

from watchkeeper.logging.levels import severity_of
from watchkeeper.logging.record import Record

_BOLD, _DIM, _RED, _GREEN, _YELLOW, _BLUE, _CYAN = "1", "2", "31", "32", "33", "34", "36"
_LEVELS = {
    "trace": ("TRACE", _DIM),
    "debug": ("DEBUG", _DIM),
    "verbose": ("VERB ", _CYAN),
    "http": ("HTTP ", _BLUE),
    "info": ("INFO ", _GREEN),
    "warning": ("WARN ", "1;33"),
    "error": ("ERROR", "1;31"),
    "critical": ("CRIT ", "1;97;41"),
}
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_FRAME = re.compile(r'^(?P<lead>[ |]*)  File "(?P<path>.*)", line (?P<line>\d+)(?:, in (?P<name>.*))?$')
# What a caller sent must not move the cursor or colour the screen. Line feeds and tabs may stay.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_ERROR = re.compile(r"^(?P<lead>[ |+-]*)(?P<type>[A-Za-z_][\w.]*)(?P<colon>: )?(?P<text>.*)$")


class ConsoleLines:
    """Records for a person. Without `colours` (a file, a pipe, NO_COLOR) the same text is plain."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours
        self._here = os.getcwd() + os.sep  # noqa: PTH109  # a prefix of text

    def __call__(self, record: Record) -> bytes:
        """One line, and below it the stack of an error."""
        word, colour = _LEVELS[severity_of(record.level).name]
        clock = datetime.fromtimestamp(record.time_ns / 1e9).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = dict(record.fields)
        if record.trace_id:
            fields["trace"] = f"{record.trace_id:032x}"
        words = "  ".join(f"{self._paint(f'{_safe(key)}=', _DIM)}{_short(value)}" for key, value in fields.items())
        message = self._paint(_safe(record.message), _BOLD)
        who = self._paint(f"({_safe(record.logger)})", _DIM)
        line = f"{self._paint(clock, _DIM)} {self._paint(word, colour)} {message}  {words}{'  ' if words else ''}{who}"
        if record.failure is not None:
            line += f"\n{self._traceback(_safe(record.failure.stack.rstrip()))}"
        return f"{line}\n".encode("utf-8", "replace")

    def _traceback(self, stack: str) -> str:
        """The stack, each of its lines in the colour of what it is."""
        shown = []
        source = _DIM  # of the frame above
        for line in stack.split("\n"):
            frame = _FRAME.match(line)
            if frame is not None:
                library = frame["path"].startswith(_LIBRARIES) or frame["path"].startswith("<frozen")
                source = _DIM if library else _BOLD
                shown.append(self._frame(frame, library))
            elif line.startswith("    "):
                marks = not line.strip(" ~^")
                shown.append("    " + self._paint(line, _RED if marks and source == _BOLD else source))
            elif line.startswith(("Traceback ", "During handling", "The above exception", "  +", "  |")) or not line:
                shown.append("  " + self._paint(line, _DIM) if line else "")
            else:
                shown.append(self._error(line))
        return "\n".join(shown)

    def _frame(self, frame: re.Match[str], library: bool) -> str:
        path = frame["path"].removeprefix(self._here)
        for folder in _LIBRARIES:
            path = path.removeprefix(folder + os.sep)
        place = f"{path}:{frame['line']}"
        name = f" in {frame['name']}" if frame["name"] else ""
        text = self._paint(place + name, _DIM) if library else self._paint(place, _CYAN) + self._paint(name, _YELLOW)
        return f"{frame['lead']}    {text}"

    def _error(self, line: str) -> str:
        found = _ERROR.match(line)
        if found is None or not found["colon"]:
            return "  " + self._paint(line, _RED)
        return f"  {found['lead']}{self._paint(found['type'], '1;31')}: {self._paint(found['text'], _RED)}"

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours and text else text


def _safe(text: str) -> str:
    return text if text.isprintable() else text.translate(_CONTROLS)


def _short(value: Any) -> str:
    if not isinstance(value, str):
        return repr(value)
    return value if value and value.isprintable() and " " not in value else repr(value)
