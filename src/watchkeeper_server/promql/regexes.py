"""Regular expressions as Prometheus has them: RE2, anchored at both ends, a dot also matches a line's end."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import re2

from watchkeeper_server.promql.errors import QueryError

Regex: TypeAlias = Any  # re2 publishes no types; use its fullmatch

# what the C++ library says, and what the Go one does
_WORDS = {
    "bad repetition operator": "invalid nested repetition operator",
    "invalid named capture group": "invalid named capture",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid repetition size": "invalid repeat count",
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "trailing \\": "trailing backslash at end of expression",
}


class RegexError(QueryError):
    """Not a regular expression; the message says so in Prometheus' words."""


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Regex:
    """The expression, to be matched by `fullmatch`.

    Raises:
        RegexError: it is none.
    """
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        what, _, where = error.args[0].decode(errors="replace").partition(": ")
        raise RegexError(f"error parsing regexp: {_WORDS.get(what, what)}: `{where}`") from error
