from __future__ import annotations

import re

import pytest

from watchkeeper_server.promql.regexes import RegexError, compiled


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a|b", "a", True),
        ("a|b", "ab", False),
        ("a.c", "a\nc", True),
        ("", "", True),
        ("é+", "éé", True),
        ("^a$", "a", True),
        ("(?i)A", "a", True),
    ],
)
def test_an_expression_matches_all_of_a_text(pattern: str, text: str, matches: bool) -> None:
    assert bool(compiled(pattern).fullmatch(text)) is matches


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "error parsing regexp: missing closing ): `(a`"),
        ("a)", "error parsing regexp: unexpected ): `a)`"),
        ("+", "error parsing regexp: missing argument to repetition operator: `+`"),
        ("a{2000}", "error parsing regexp: invalid repeat count: `{2000}`"),
        ("[z-a]", "error parsing regexp: invalid character class range: `z-a`"),
        ("(?!a)", "error parsing regexp: invalid or unsupported Perl syntax: `(?!`"),
        (r"\8", r"error parsing regexp: invalid escape sequence: `\8`"),
        ("a\\", "error parsing regexp: trailing backslash at end of expression"),
    ],
)
def test_a_bad_expression_is_refused_in_prometheus_words(pattern: str, message: str) -> None:
    with pytest.raises(RegexError, match=f"^{re.escape(message)}"):
        compiled(pattern)
