"""The checks of a process: what each is called, what it runs, and what its failure means."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from watchkeeper.environment import ConfigurationError, check_number
from watchkeeper.export.boundary import boundary
from watchkeeper.health.options import LONGEST_TIMEOUT
from watchkeeper.health.results import Kind

CRITICAL_WEIGHT, PLAIN_WEIGHT = 3.0, 1.0
_SHORTEST_SECRET = 4
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # it is a label and a part of a path


@dataclass(frozen=True)
class Check:
    """A check and what it is worth. `function` may be async, or answer with an awaitable."""

    name: str
    function: Callable[[], Any]
    critical: bool = False
    timeout_seconds: float = LONGEST_TIMEOUT
    weight: float = PLAIN_WEIGHT
    interval_seconds: float | None = None  # None: as the options have it
    kind: Kind = "component"
    secrets: tuple[str, ...] = ()  # what its messages must not repeat


class Registry:
    """Checks by name: the application's, and behind them those that come by themselves."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[], None]] = []  # called after each change
        self._own: dict[str, Check] = {}
        self._built_in: dict[str, Check] = {}
        self._lock = threading.Lock()

    def add(self, check: Check) -> None:
        """Adds a check of the application's. One of the same name is replaced, which is said where it surprises."""
        with self._lock:
            before = self._own.get(check.name)
            self._own = {**self._own, check.name: check}
        if before is not None and not _same(before.function, check.function):
            boundary.say_once(
                f"health check {check.name}",
                f"two health checks are named {check.name!r}: the later one is run, name them apart",
            )
        self._changed()

    def remove(self, name: str) -> None:
        """Forgets a check of the application's."""
        with self._lock:
            self._own = {each: check for each, check in self._own.items() if each != name}
        self._changed()

    def use_built_in(self, checks: Iterable[Check]) -> None:
        """These come by themselves, unless the application has one of that name."""
        with self._lock:
            self._built_in = {check.name: check for check in checks}
        self._changed()

    def checks(self) -> dict[str, Check]:
        """All, by name."""
        return {**self._built_in, **self._own}

    def after_fork(self) -> None:
        """In a child: a lock of its own."""
        self._lock = threading.Lock()

    def _changed(self) -> None:
        for listener in self.listeners:
            listener()


def checked(
    name: Any,
    function: Callable[[], Any],
    *,
    critical: bool,
    timeout: float,
    weight: float | None,
    interval: float | None,
    kind: Kind = "component",
    secrets: tuple[str, ...] = (),
) -> Check:
    """A check of these values. Raises ConfigurationError that says which cannot be, and what could."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"a health check is named {name!r}: use 1 to 64 letters, digits, dots, dashes and underscores,"
            " beginning with a letter or a digit"
        )
    what = f"of health check {name!r}"
    if not callable(function):
        raise ConfigurationError(f"the function {what} is a {type(function).__name__}: it must be callable")
    for word, number in (("timeout", timeout), ("weight", weight), ("interval", interval)):
        if number is not None or word == "timeout":
            check_number(f"the {word} {what}", number)
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise ConfigurationError(
            f"the timeout {what} is {timeout} s: it must be above 0, and {LONGEST_TIMEOUT:g} at most"
        )
    if weight is not None and not 0 < weight <= 1e6:  # noqa: PLR2004  # what sums keep exact enough
        raise ConfigurationError(f"the weight {what} is {weight}: it must be above 0, and a million at most")
    if interval is not None and not 0.1 <= interval <= 86_400:  # noqa: PLR2004  # as the option
        raise ConfigurationError(f"the interval {what} is {interval} s: it must be between 0.1 and 86400")
    own_weight = weight if weight is not None else CRITICAL_WEIGHT if critical else PLAIN_WEIGHT
    # A shorter text is no secret, and is a part of many words.
    long_enough = tuple(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)
    return Check(name, function, critical, timeout, own_weight, interval, kind, long_enough)


def _same(one: Callable[[], Any], other: Callable[[], Any]) -> bool:
    """Whether a module that was loaded again brings its function again."""
    names = [(getattr(each, "__module__", None), getattr(each, "__qualname__", None)) for each in (one, other)]
    return one is other or (names[0] == names[1] and None not in names[0])


registry = Registry()
