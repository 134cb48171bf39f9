"""Reading variables and judging options: what cannot be used is named, with what would be."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_args
from urllib.parse import unquote, urlsplit

Number = TypeVar("Number", int, float)
_NUMBERS: Mapping[type, str] = {int: "a whole number", float: "a number"}
_NEAR = 0.8  # how like two names are that are taken for each other
_MOST = 1e15  # of any number
_LONGEST_MESSAGE = 400  # characters
_DURATION = re.compile(r"[0-9.]+ ?(ms|s|sec|m|min|h)", re.IGNORECASE)
_LONGEST_SHOWN = 100  # characters of a value in a message


class Reading(Mapping[str, str]):
    """An environment that remembers what was asked of it, and what is to be said of what it holds."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._asked: set[str] = set()
        self.notices: list[str] = []  # of variables that are set, and are not heeded as they are

    def __getitem__(self, name: str) -> str:
        self._asked.add(name)
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)

    def unknown(self, prefix: str) -> dict[str, str]:
        """Variables of this prefix that nobody has asked for, each with the nearest that somebody has, or nothing."""
        known = sorted(name.removeprefix(prefix) for name in self._asked if name.startswith(prefix))
        found = sorted(name for name in self._environ if name.startswith(prefix) and name not in self._asked)
        near = {name: get_close_matches(name.removeprefix(prefix), known, 1, _NEAR) for name in found}
        return {name: prefix + names[0] if names else "" for name, names in near.items()}


class ConfigurationError(ValueError):
    """An option or a variable that cannot be used; the message names it and says what would be.

    Example:
        >>> import watchkeeper as wk
        >>> wk.configure(wk.Options(metrics=wk.MetricOptions(path="metrics")))
        Traceback (most recent call last):
        watchkeeper.environment.ConfigurationError: metrics.path is 'metrics': it must start with / …
    """


def check_choice(name: str, value: str, choices: Any) -> None:
    """Raises ConfigurationError if `value` is none of a Literal's."""
    if value not in get_args(choices):
        raise ConfigurationError(f"{name} is {short(value)}: use one of {', '.join(get_args(choices))}")


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Raises ConfigurationError if `value` is out of bounds, which belong to it."""
    if not low <= value <= high:
        raise ConfigurationError(f"{name} is {value}: it must be between {low} and {high}")


def check_number(name: str, value: Any) -> None:
    """Raises ConfigurationError if `value` is no number, whatever it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = f"{short(value)}, " if isinstance(value, str) else ""
        raise ConfigurationError(f"{name} is {shown}a {type(value).__name__}: it must be a number")


def check_url(name: str, url: str) -> None:
    """Raises ConfigurationError if `url` is not one that can be posted to. `name` may tell more than one name."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        with_password = parts.username is not None
    except ValueError:
        usable = with_password = False
    if with_password:  # which would be told wherever the URL is
        raise ConfigurationError(
            f"{name} has a user or a password in its URL: give them in options or headers of their own"
        )
    if not usable:
        raise ConfigurationError(f"{name} is {short(url)}: it must be an http:// or https:// URL")


def check_pattern(name: str, pattern: str) -> re.Pattern[str]:
    """A regular expression, compiled. Raises ConfigurationError if `pattern` is none."""
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigurationError(f"{name}: {short(pattern)} is not a regular expression: {error}") from error


def check_file(name: str, path: str) -> None:
    """Raises ConfigurationError if `path` names something, and that is no file that can be read."""
    if path and not os.path.isfile(path):  # noqa: PTH113  # Path raises for names that are too long
        raise ConfigurationError(f"{name} is {short(path)}: there is no such file")


def number_in(
    environ: Mapping[str, str],
    name: str,
    default: Number,
    kind: type[Number],
    low: float = 0,
    high: float = _MOST,
) -> Number:
    """A variable as a number within bounds, which belong to it; `default` where it is empty."""
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        raise ConfigurationError(f"{name} is {short(text)}: it must be {_NUMBERS[kind]}{_unit(name, text)}") from None
    if not low <= value <= high:  # nor is NaN
        most = f" and at most {high:,.15g}" if high < _MOST else ""
        raise ConfigurationError(f"{name} is {short(text)}: it must be at least {low:,.15g}{most}")
    return value


def flag_in(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A variable as true or false."""
    text = environ.get(name, "").strip().lower()
    if text not in {"", "true", "false", "1", "0"}:
        raise ConfigurationError(f"{name} is {short(text)}: use true or false")
    return text in {"true", "1"} if text else default


def list_in(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """A variable as a list, separated by commas."""
    return tuple(part.strip() for part in environ.get(name, "").split(",") if part.strip())


def pairs_in(environ: Mapping[str, str], name: str) -> dict[str, str]:
    """`key=value,key2=value2` with percent-encoded values, as W3C Baggage writes them."""
    pairs = {}
    parts = list_in(environ, name)
    for at, part in enumerate(parts, 1):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():  # not repeated here: it may be a credential
            raise ConfigurationError(
                f"{name} must be a list of key=value, separated by commas: part {at} of {len(parts)} is none"
            )
        pairs[key.strip()] = unquote(value.strip())
    return pairs


def naming_variable(
    error: ConfigurationError, environ: Mapping[str, str], read: Callable[[Mapping[str, str]], Any]
) -> str:
    """The error's message, with the variable it comes from: the one without which `read` does not say it.

    What is judged is an option, which a variable may have filled.
    """
    message = str(error)
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[: _LONGEST_MESSAGE // 2]}…{message[-_LONGEST_MESSAGE // 2 :]}"
    names = sorted(name for name in environ if name.startswith(("OTEL_", "WATCHKEEPER_", "SENTRY_")))
    if any(name in message for name in names):
        return message
    for name in names:
        try:
            read({each: value for each, value in environ.items() if each != name})
        except ConfigurationError as other:
            if str(other) == str(error):
                continue
        return f"{name}: {message}"
    return message


def _unit(name: str, text: str) -> str:
    """The unit in which a number is wanted that was given with one."""
    if name.endswith("_BYTES"):
        return " of bytes, such as 10000000"
    return " of milliseconds, such as 1500" if _DURATION.fullmatch(text) else ""


def short(text: str) -> str:
    """A text as a message shows it."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")
