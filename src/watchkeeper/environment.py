"""Reading variables and judging options: what cannot be used is named, with what would be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args
from urllib.parse import unquote

Number = TypeVar("Number", int, float)


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
        raise ConfigurationError(f"{name} is {value!r}: use one of {', '.join(get_args(choices))}")


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Raises ConfigurationError if `value` is out of bounds, which belong to it."""
    if not low <= value <= high:
        raise ConfigurationError(f"{name} is {value}: it must be between {low} and {high}")


def number_in(environ: Mapping[str, str], name: str, default: Number, kind: type[Number]) -> Number:
    """A variable as a number from 0 upwards; `default` where it is empty."""
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        raise ConfigurationError(f"{name} is {text!r}: it must be a number") from None
    if value < 0:
        raise ConfigurationError(f"{name} is {text}: it cannot be negative")
    return value


def flag_in(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A variable as true or false."""
    text = environ.get(name, "").strip().lower()
    if text not in {"", "true", "false", "1", "0"}:
        raise ConfigurationError(f"{name} is {text!r}: use true or false")
    return text in {"true", "1"} if text else default


def list_in(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """A variable as a list, separated by commas."""
    return tuple(part.strip() for part in environ.get(name, "").split(",") if part.strip())


def pairs_in(environ: Mapping[str, str], name: str) -> dict[str, str]:
    """`key=value,key2=value2` with percent-encoded values, as W3C Baggage writes them."""
    pairs = {}
    for part in list_in(environ, name):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ConfigurationError(f"{name} holds {part!r}: it must be a list of key=value, separated by commas")
        pairs[key.strip()] = unquote(value.strip())
    return pairs
