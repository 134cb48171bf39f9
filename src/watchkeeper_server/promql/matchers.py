"""Whether a label's value is what a matcher wants."""

from __future__ import annotations

from typing import assert_never

from watchkeeper_server.promql.regexes import compiled
from watchkeeper_server.promql.tree import Matcher, MatchOp


def matches(matcher: Matcher, value: str) -> bool:
    """Whether it matches the value; that of a label that is not there is the empty string."""
    match matcher.op:
        case MatchOp.EQUAL:
            return value == matcher.value
        case MatchOp.NOT_EQUAL:
            return value != matcher.value
        case MatchOp.REGEX:
            return compiled(matcher.value).fullmatch(value) is not None
        case MatchOp.NOT_REGEX:
            return compiled(matcher.value).fullmatch(value) is None
    assert_never(matcher.op)
