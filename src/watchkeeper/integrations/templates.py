"""Route templates in one form, `/orders/{order_id}`, from the forms that Flask's and Django's routers have."""

from __future__ import annotations

import re
from functools import lru_cache

_MOST_TEMPLATES = 4_096  # routes are the application's own, so only a mistake gets there
# <name>, <int:name>, <any(a, b):name>
_PLACEHOLDER = re.compile(r"<(?:[a-zA-Z_]\w*(?:\(.*?\))?:)?([a-zA-Z_]\w*)>")
_NAMED_GROUP = re.compile(r"\(\?P<(\w+)>")
_REGEX_ONLY = re.compile(r"[\^$(\\]")
_NOT_SAID = "AZzBb"  # escapes that match a place rather than a character


@lru_cache(_MOST_TEMPLATES)
def flask_template(rule: str) -> str:
    """The template of a Werkzeug rule, such as `/orders/<int:order_id>`."""
    return _PLACEHOLDER.sub(r"{\1}", rule)


@lru_cache(_MOST_TEMPLATES)
def django_template(route: str) -> str:
    r"""The template of a ResolverMatch's route, such as `orders/<int:order_id>` or `^orders/(?P<order_id>\d+)$`.

    Routes of `path` and of `re_path` are told apart by what only one of them holds: an include may join both.
    Unnamed groups are named by their number, from 0.
    """
    if _REGEX_ONLY.search(route):
        route = _without_regex(route)
    return "/" + _PLACEHOLDER.sub(r"{\1}", route)


def _without_regex(regex: str) -> str:
    parts: list[str] = []
    at = unnamed = 0
    while at < len(regex):
        char, end = regex[at], at + 1
        if char == "\\":
            end = at + 2
            escaped = regex[at + 1 : end]
            if escaped not in _NOT_SAID:
                parts.append(char + escaped if escaped.isalnum() else escaped)
        elif char == "(":
            end = _end_of_group(regex, at)
            group = regex[at:end]
            named = _NAMED_GROUP.match(group)
            if named is not None:
                parts.append(f"{{{named[1]}}}")
            elif group.startswith("(?:"):
                parts.append(_without_regex(group[3:-1]))
            elif not group.startswith("(?"):  # what is left are assertions and flags
                parts.append(f"{{{unnamed}}}")
                unnamed += 1
        elif char not in "^$?*+":
            parts.append(char)
        at = end
    return "".join(parts)


def _end_of_group(regex: str, start: int) -> int:
    """Where the group that opens at `start` ends: behind its parenthesis, which no class or escape hides."""
    depth, in_class, at = 0, False, start
    while at < len(regex):
        char = regex[at]
        if char == "\\":
            at += 1
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return len(regex)
