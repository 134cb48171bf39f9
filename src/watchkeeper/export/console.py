"""Traces as trees on the terminal, for development (OTEL_TRACES_EXPORTER=console).

A tree is printed when its local root has ended; spans wait for it, at most 2,000 of them. What is still waiting then,
or when the program ends, is printed as it is. Writing happens in the export thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_MESSAGE, EXCEPTION_TYPE
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME
from opentelemetry.trace import SpanKind, StatusCode

from watchkeeper.export.transport import Answer
from watchkeeper.tracing.span import Span

MOST_WAITING = 2_000  # spans
MOST_ROWS = 200  # spans of one tree
LARGEST_TEXT = 2 * 1024 * 1024  # bytes of one batch: more would be split, and this encoder cannot be asked twice
_NAME, _BAR = 44, 28  # columns
_MOST_ATTRIBUTES, _LONGEST_VALUE = 8, 60
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BOLD, _DIM, _RED, _GREEN, _CYAN, _OFF = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[0m"
_CONTROLS = {
    number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))
}  # a name must not steer the terminal


class Console:
    """Makes trees of spans, and writes them to a stream of `sys`, looked up at each write."""

    def __init__(self, resource: Mapping[str, Any], stream: str, colours: bool | None = None) -> None:
        self._service = _clean(str(resource.get(SERVICE_NAME, "")))
        self._stream = self.destination = stream
        self._colours = colours
        self._waiting: dict[int, list[Span]] = {}  # by trace
        self._count = 0

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The trees that these spans complete."""
        trees = []
        for span in spans:
            self._waiting.setdefault(span.trace_id, []).append(span)
            self._count += 1
            if not span.parent_id or span.parent_is_remote:
                trees.append(self._take(span.trace_id))
        while self._count > MOST_WAITING:
            trees.append(self._take(next(iter(self._waiting))))
        return "".join(trees).encode("utf-8", "replace")[:LARGEST_TEXT]

    def post(self, body: bytes, timeout_seconds: float) -> Answer:  # noqa: ARG002  # the timeout is a server's
        """Writes a batch of trees. A stream that is closed or gone takes nothing, for good."""
        stream = getattr(sys, self._stream)
        try:
            if body and stream is not None:
                stream.write(body.decode("utf-8", "replace"))
                stream.flush()
        except (OSError, ValueError) as error:
            return Answer(delivered=False, reason="stream_closed", detail=f"{self._stream}: {error}")
        return Answer(delivered=True)

    def close(self) -> None:
        """Writes what still waits for its root."""
        left = "".join([self._take(trace_id) for trace_id in list(self._waiting)])
        self.post(left.encode("utf-8", "replace"), 0)

    def _take(self, trace_id: int) -> str:
        spans = self._waiting.pop(trace_id)
        self._count -= len(spans)
        return tree_of(spans, self._service, _paint if self._coloured() else _plain)

    def _coloured(self) -> bool:
        if self._colours is not None:
            return self._colours
        stream = getattr(sys, self._stream)
        return "NO_COLOR" not in os.environ and stream is not None and stream.isatty()


Paint = Callable[[str, str], str]


def _paint(text: str, colour: str) -> str:
    return f"{colour}{text}{_OFF}"


def _plain(text: str, _colour: str) -> str:
    return text


def tree_of(spans: Sequence[Span], service: str, paint: Paint) -> str:
    """One trace as text: a headline, then a row for each span, children below their parents, by their start."""
    ordered = sorted(spans, key=lambda span: (span.start_time, -span.end_time))
    begin, end = ordered[0].start_time, max(span.end_time for span in ordered)
    ids = {span.span_id for span in ordered}
    children: dict[int, list[Span]] = {}
    for span in ordered:
        children.setdefault(span.parent_id if span.parent_id in ids else 0, []).append(span)
    failed = sum(span.status_code is StatusCode.ERROR for span in ordered)
    mark = paint("✗", _RED) if failed else paint("✓", _GREEN)
    facts = [service, duration_text(end - begin), _counted(len(ordered), "span")]
    if failed:
        facts.append(paint(_counted(failed, "error"), _RED))
    headline = f"{mark} {paint(_clean(ordered[0].name), _BOLD)}  {' · '.join(filter(None, facts))}"
    rows = [f"{headline}  {paint(f'{ordered[0].trace_id:032x}', _DIM)}"]
    shown = _add_rows(rows, children, begin, max(1, end - begin), paint)
    if shown < len(ordered):
        rows.append(paint(f"  … {_counted(len(ordered) - shown, 'more span')}", _DIM))
    return "\n".join(rows) + "\n\n"


def _add_rows(rows: list[str], children: dict[int, list[Span]], begin: int, whole: int, paint: Paint) -> int:
    """Walks the tree, and tells how many spans it has shown.

    Without recursion, because an application may nest its spans deeper than Python does.
    """
    waiting = [(span, "", "") for span in reversed(children.get(0, ()))]
    shown = 0
    while waiting and shown < MOST_ROWS:
        shown += 1
        span, lead, indent = waiting.pop()
        rows.append(_row(span, lead, begin, whole, paint))
        error = _error_of(span)
        below = children.get(span.span_id, [])
        if error:
            rows.append(f"  {indent}{'│ ' if below else '  '}{paint(error, _RED)}")
        for child in reversed(below):
            last = child is below[-1]
            waiting.append((child, f"{indent}{'└─ ' if last else '├─ '}", f"{indent}{'   ' if last else '│  '}"))
    return shown


def _row(span: Span, lead: str, begin: int, whole: int, paint: Paint) -> str:
    failed = span.status_code is StatusCode.ERROR
    title = _cut(f"{lead}{_clean(span.name)}", _NAME)
    title = title.ljust(_NAME)
    shown = len(lead)
    bar = bar_of((span.start_time - begin) / whole, (span.end_time - begin) / whole)
    row = f"  {paint(title[:shown], _DIM)}{paint(title[shown:], _RED) if failed else title[shown:]} "
    row += f"{paint(bar, _RED if failed else _CYAN)} {duration_text(span.end_time - span.start_time):>8}"
    if span.kind is not SpanKind.INTERNAL:
        row += f"  {paint(span.kind.name.lower(), _DIM)}"
    told = _attributes_text(span.attributes)
    return f"{row}  {paint(told, _DIM)}" if told else row


def bar_of(start: float, end: float) -> str:
    """A bar from `start` to `end`, shares of the whole: an eighth of a column fine at its end, and never invisible."""
    first = min(int(start * _BAR), _BAR - 1)
    eighths = max(1, round((min(end, 1.0) * _BAR - first) * 8))
    full, rest = divmod(eighths, 8)
    full = min(full, _BAR - first)
    bar = " " * first + "█" * full + (_EIGHTHS[rest] if rest and first + full < _BAR else "")
    return bar.ljust(_BAR)


def duration_text(nanoseconds: int) -> str:
    """A duration to three digits: `850 ns`, `12.4 µs`, `1.25 s`, `2 m 05 s`."""
    if nanoseconds >= 60_000_000_000:  # noqa: PLR2004  # a minute
        minutes, seconds = divmod(nanoseconds // 1_000_000_000, 60)
        return f"{minutes} m {seconds:02} s"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            value = nanoseconds / size
            digits = 2 if value < 10 else 1 if value < 100 else 0  # noqa: PLR2004  # three digits
            return f"{value:.{digits}f} {unit}"
    return f"{max(0, nanoseconds)} ns"


def _attributes_text(attributes: Mapping[str, Any]) -> str:
    items = list(attributes.items())
    told = [f"{_clean(key)}={_cut(_clean(str(value)), _LONGEST_VALUE)}" for key, value in items[:_MOST_ATTRIBUTES]]
    if len(items) > _MOST_ATTRIBUTES:
        told.append(f"+{len(items) - _MOST_ATTRIBUTES}")
    return " ".join(told)


def _error_of(span: Span) -> str:
    """What a failed span says of its failure."""
    if span.status_code is not StatusCode.ERROR:
        return ""
    for event in reversed(span.events or ()):
        if EXCEPTION_TYPE in event.attributes:
            message = event.attributes.get(EXCEPTION_MESSAGE, "")
            return _cut(_clean(f"✗ {event.attributes[EXCEPTION_TYPE]}: {message}"), 120)
    return _cut(_clean(f"✗ {span.status_message}"), 120) if span.status_message else ""


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _clean(text: str) -> str:
    return text[:500].translate(_CONTROLS)
