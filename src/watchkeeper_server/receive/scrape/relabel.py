"""Relabelling: rules that rewrite a label set, or drop what carries it.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Self

import re2

_ACTIONS = (
    "replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase",
    "uppercase",
)  # fmt: skip
_NEED_TARGET = ("replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal")
_LEGACY_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LEGACY_TEMPLATE = re.compile(r"(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+", re.ASCII)
_VARIABLE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")
_SEPARATOR, _REPLACEMENT = ";", "$1"


class Regex:
    """A regular expression in RE2's syntax that must match the whole text; `.` matches newlines too."""

    __slots__ = ("compiled", "pattern")

    def __init__(self, pattern: str) -> None:
        """Compile it.

        Raises:
            ValueError: it is malformed.
        """
        self.pattern = pattern
        self.compiled = _compiled(pattern)

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read it from the configuration."""
        return cls(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regex) and other.pattern == self.pattern

    def __hash__(self) -> int:
        return hash(self.pattern)

    def __repr__(self) -> str:
        return f"Regex({self.pattern!r})"

    def match(self, text: str) -> Any:
        """The match of the whole text, or None."""
        return self.compiled.fullmatch(text)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)  # by itself, so that no bracket closes ours
        return re2.compile(f"(?s:{pattern})", options)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"error parsing regexp: {reason}: `{pattern}`") from error


_ANYTHING = Regex("(.*)")


@dataclass(frozen=True)
class RelabelRule:
    """One rule; the fields' names are those of the configuration.

    Raises:
        ValueError: the fields do not go together.
    """

    source_labels: tuple[str, ...] = ()
    separator: str = _SEPARATOR
    regex: Regex = _ANYTHING
    modulus: int = 0
    target_label: str = ""
    replacement: str = _REPLACEMENT
    action: str = "replace"

    def __post_init__(self) -> None:
        object.__setattr__(self, "action", self.action.lower())
        if self.action not in _ACTIONS:
            raise ValueError(f'unknown relabel action "{self.action}"')
        if self.action == "hashmod" and not self.modulus:
            raise ValueError("relabel configuration for hashmod requires non-zero modulus")
        if self.action in _NEED_TARGET and not self.target_label:
            raise ValueError(f"relabel configuration for {self.action} action requires 'target_label' value")
        plain = self.regex == _ANYTHING and self.separator == _SEPARATOR and self.replacement == _REPLACEMENT
        if self.action in ("lowercase", "uppercase") and self.replacement != _REPLACEMENT:
            raise ValueError(f"'replacement' can not be set for {self.action} action")
        if self.action in ("keepequal", "dropequal") and not (plain and not self.modulus):
            raise ValueError(
                f"{self.action} action requires only 'source_labels' and `target_label`, and no other fields"
            )
        if self.action in ("labeldrop", "labelkeep") and (
            self.source_labels
            or self.target_label
            or self.modulus
            or (self.separator, self.replacement) != (_SEPARATOR, _REPLACEMENT)
        ):
            raise ValueError(f"{self.action} action requires only 'regex', and no other fields")

    @cached_property
    def _constant(self) -> bool:
        """Whether the rule matches anything and takes nothing from it."""
        return self.regex == _ANYTHING and "$" not in self.target_label and "$" not in self.replacement

    def check_names(self, *, utf8: bool) -> None:
        """Refuse target labels that no label may be called.

        Raises:
            ValueError: there is one.
        """
        if self.action == "labelmap" and not utf8 and not _LEGACY_TEMPLATE.fullmatch(self.replacement):
            raise ValueError(f"\"{self.replacement}\" is invalid 'replacement' for {self.action} action")
        if self.action in _NEED_TARGET and not utf8:
            templated = self.action == "replace" and "$" in self.target_label
            if not (_LEGACY_TEMPLATE if templated else _LEGACY_NAME).fullmatch(self.target_label):
                raise ValueError(f"\"{self.target_label}\" is invalid 'target_label' for {self.action} action")

    def apply(self, labels: dict[str, str], *, utf8: bool) -> bool:
        """Rewrite the labels; an empty value removes one. False if what carries them is to be dropped."""
        value = self.separator.join([labels.get(name, "") for name in self.source_labels])
        match self.action:
            case "keep":
                return self.regex.match(value) is not None
            case "drop":
                return self.regex.match(value) is None
            case "keepequal":
                return labels.get(self.target_label, "") == value
            case "dropequal":
                return labels.get(self.target_label, "") != value
            case "replace":
                self._replace(labels, value, utf8=utf8)
            case "hashmod":
                digest = hashlib.md5(value.encode(), usedforsecurity=False).digest()
                labels[self.target_label] = str(int.from_bytes(digest[8:]) % self.modulus)
            case "lowercase":
                labels[self.target_label] = _mapped(value, str.lower)
            case "uppercase":
                labels[self.target_label] = _mapped(value, str.upper)
            case _:
                self._rename(labels)
        return True

    def _replace(self, labels: dict[str, str], value: str, *, utf8: bool) -> None:
        if self._constant:
            _put(labels, self.target_label, self.replacement)
            return
        match = self.regex.match(value)
        if match is None:
            return
        target = _expanded(self.target_label, match)
        if target and (utf8 or _LEGACY_NAME.fullmatch(target)):
            _put(labels, target, _expanded(self.replacement, match))

    def _rename(self, labels: dict[str, str]) -> None:
        """The actions on names; each looks at the labels as they were before it."""
        for name, value in list(labels.items()):
            match = self.regex.match(name)
            if self.action == "labelmap":
                if match is not None:
                    _put(labels, _expanded(self.replacement, match), value)
            elif (match is not None) == (self.action == "labeldrop"):
                del labels[name]


def relabel(labels: dict[str, str], rules: Sequence[RelabelRule], *, utf8: bool) -> bool:
    """Apply rules in turn, in place. False if one of them drops what carries the labels; they are of no use then."""
    return all(rule.apply(labels, utf8=utf8) for rule in rules)


def _put(labels: dict[str, str], name: str, value: str) -> None:
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


def _expanded(template: str, match: Any) -> str:
    """A template's `$1`, `${name}` and `$$` replaced; groups that do not exist are empty."""
    if "$" not in template:
        return template
    return _VARIABLE.sub(lambda variable: _group(variable, match), template)


def _group(variable: re.Match[str], match: Any) -> str:
    dollar, bare, braced = variable.groups()
    if dollar:
        return "$"
    name: str = bare or braced
    if name.isascii() and name.isdigit():
        if (len(name) > 1 and name[0] == "0") or len(name) > 8 or int(name) > match.re.groups:  # noqa: PLR2004  as Go
            return ""
        return match[int(name)] or ""
    return (match[name] or "") if name in match.re.groupindex else ""


def _mapped(text: str, change: Any) -> str:
    """Letters changed one by one, so that none becomes two (as `ß` would)."""
    changed = [change(letter) for letter in text]
    return "".join([new if len(new) == 1 else letter for letter, new in zip(text, changed, strict=True)])
