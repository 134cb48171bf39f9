"""`label_replace` and `label_join`: labels made of other labels, once a series."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.functions.arguments import Instant, text, vector
from watchkeeper_server.promql.labels import is_name
from watchkeeper_server.promql.regexes import Regex, RegexError, compiled
from watchkeeper_server.promql.values import Labels, Value

# `$$`, `$1`, `$name`, `${name}`; a dollar before anything else is just that
_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


def label_replace(_context: Context, arguments: Sequence[Value]) -> Value:
    """Where the regular expression matches all of `source`, `target` becomes the replacement.

    Raises:
        ExecutionError: that is no regular expression, or no name of a label.
    """
    matrix = vector(arguments[0])
    target, replacement, source, pattern = map(text, arguments[1:])
    try:
        regex = compiled(pattern)
    except RegexError as error:
        raise ExecutionError(f"invalid regular expression in label_replace(): {pattern}") from error
    _must_be_label(target, "destination label name in label_replace()")
    expand = _template(regex, replacement)

    @cache
    def replaced(value: str) -> str | None:
        match = regex.fullmatch(value)
        return None if match is None else expand((value, *match.groups()))

    def change(labels: Labels) -> Labels:
        value = replaced(labels.get(source, ""))
        return labels if value is None else _with(labels, target, value)

    return replace(matrix, labels=[*map(change, matrix.labels)])


def label_join(_context: Context, arguments: Sequence[Value]) -> Value:
    """`target` becomes the values of the other labels, with `separator` between.

    Raises:
        ExecutionError: that is no name of a label.
    """
    matrix = vector(arguments[0])
    target, separator, *sources = map(text, arguments[1:])
    for source in sources:
        _must_be_label(source, "source label name in label_join()")
    _must_be_label(target, "destination label name in label_join()")

    def change(labels: Labels) -> Labels:
        return _with(labels, target, separator.join([labels.get(source, "") for source in sources]))

    return replace(matrix, labels=[*map(change, matrix.labels)])


def _with(labels: Labels, name: str, value: str) -> Labels:
    """A label without a value is none."""
    others = {each: labels[each] for each in labels if each != name}
    return others | {name: value} if value else others


def _must_be_label(name: str, what: str) -> None:
    if not is_name(name):
        raise ExecutionError(f"invalid {what}: {name}")


def _template(regex: Regex, replacement: str) -> Callable[[Sequence[str | None]], str]:
    """Go's templates: what a reference names is put in its place, nothing if it has not matched or is unknown."""
    parts: list[str | int] = []
    position = 0
    for found in _REFERENCE.finditer(replacement):
        parts.append(replacement[position : found.start()])
        position = found.end()
        parts.append("$" if found[1] else _group(regex, found[2] or found[3]))
    parts.append(replacement[position:])

    def expand(groups: Sequence[str | None]) -> str:
        return "".join([part if isinstance(part, str) else groups[part] or "" for part in parts])

    return expand


def _group(regex: Regex, name: str) -> int | str:
    """The place of a group, 0 for the whole match; the empty string if there is no such group."""
    if name.isascii() and name.isdigit() and (name == "0" or not name.startswith("0")):
        number = int(name)
    else:
        number = regex.groupindex.get(name, -1)
    return number if 0 <= number <= regex.groups else ""


RELABELLING: Mapping[str, Instant] = {"label_join": label_join, "label_replace": label_replace}
