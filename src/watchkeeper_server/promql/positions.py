"""Where in a query something is wrong, in Prometheus' words."""

from __future__ import annotations

from watchkeeper_server.promql.errors import ParseError


def parse_error(text: str, message: str, start: int, end: int) -> ParseError:
    """An error at characters `start` to `end` of `text`, as `LINE:COLUMN: parse error: message`."""
    line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    place = f"{line}:{column}" if text else "unknown position"
    return ParseError(f"{place}: parse error: {message}", start, end)
