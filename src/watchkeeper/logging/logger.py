"""The logger: structlog's way of calling (an event and fields, loggers that bind more), made for 3 µs a line."""

from __future__ import annotations

import sys
from typing import Any

from watchkeeper.export.boundary import boundary
from watchkeeper.logging.levels import (
    ALERT,
    CRITICAL,
    DEBUG,
    EMERGENCY,
    ERROR,
    HTTP,
    INFO,
    NOTICE,
    TRACE,
    VERBOSE,
    WARNING,
    level_of,
)
from watchkeeper.logging.pipeline import Pipeline, pipeline
from watchkeeper.values import text_of, told

_LONGEST_NAME = 256  # characters; what is made of a name is kept


class Logger:
    """Says events with fields. Immutable: `bind` gives another logger that says more.

    Example:
        >>> wk.get_logger(__name__).bind(order_id=7).warning("card declined", attempts=2)
    """

    __slots__ = ("_fields", "_name", "_pipeline")

    def __init__(self, name: str, fields: dict[str, Any] | None = None, sink: Pipeline = pipeline) -> None:
        self._name = name
        self._fields = fields or {}
        self._pipeline = sink

    def bind(self, **fields: Any) -> Logger:
        """A logger that adds these fields to each line."""
        return Logger(self._name, {**self._fields, **fields}, self._pipeline)

    def unbind(self, *keys: str) -> Logger:
        """A logger without these fields; KeyError if one of them was never bound, as structlog has it."""
        kept = dict(self._fields)
        for key in keys:
            del kept[key]
        return Logger(self._name, kept, self._pipeline)

    def try_unbind(self, *keys: str) -> Logger:
        """A logger without these fields, bound or not."""
        return Logger(
            self._name, {key: value for key, value in self._fields.items() if key not in keys}, self._pipeline
        )

    def new(self, **fields: Any) -> Logger:
        """A logger with these fields only."""
        return Logger(self._name, fields, self._pipeline)

    def is_enabled_for(self, level: int) -> bool:
        """Whether lines of that level (the standard library's numbers) go anywhere."""
        return (level if type(level) is int else level_of(level, INFO)) >= self._pipeline.level

    isEnabledFor = is_enabled_for  # noqa: N815  # the standard library's spelling

    def trace(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says an event of the finest level."""
        if self._pipeline.level <= TRACE:
            self._say(TRACE, event, args, fields)

    def debug(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says an event for whoever debugs."""
        if self._pipeline.level <= DEBUG:
            self._say(DEBUG, event, args, fields)

    def verbose(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says an event that is more than debugging and less than information."""
        if self._pipeline.level <= VERBOSE:
            self._say(VERBOSE, event, args, fields)

    def http(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says that a request was made or served."""
        if self._pipeline.level <= HTTP:
            self._say(HTTP, event, args, fields)

    def info(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says an ordinary event."""
        if self._pipeline.level <= INFO:
            self._say(INFO, event, args, fields)

    def notice(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says an ordinary event that matters; syslog's level, written as `info`."""
        if self._pipeline.level <= NOTICE:
            self._say(NOTICE, event, args, fields)

    def warning(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says that something may be wrong."""
        if self._pipeline.level <= WARNING:
            self._say(WARNING, event, args, fields)

    def error(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says that something failed."""
        if self._pipeline.level <= ERROR:
            self._say(ERROR, event, args, fields)

    def critical(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says that the service itself is failing."""
        if self._pipeline.level <= CRITICAL:
            self._say(CRITICAL, event, args, fields)

    def alert(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says that somebody must act at once; syslog's level, written as `critical`."""
        if self._pipeline.level <= ALERT:
            self._say(ALERT, event, args, fields)

    def emergency(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says that nothing works; syslog's level, written as `critical`."""
        if self._pipeline.level <= EMERGENCY:
            self._say(EMERGENCY, event, args, fields)

    def exception(self, event: object = None, *args: Any, **fields: Any) -> None:
        """Says that something failed, with the exception being handled."""
        fields.setdefault("exc_info", True)
        self.error(event, *args, **fields)

    def log(self, level: int | str, event: object = None, *args: Any, **fields: Any) -> None:
        """Says an event of a level given by number or name; one that nobody knows is `info`."""
        number = level_of(level, INFO)
        if self._pipeline.level <= number:
            self._say(number, event, args, fields)

    msg = info
    silly = trace
    warn = warning
    err = error
    crit = fatal = critical
    emerg = panic = emergency

    async def ainfo(self, event: object = None, *args: Any, **fields: Any) -> None:
        """`info`; nothing here waits, so the async forms are only for structlog's users."""
        self.info(event, *args, **fields)

    async def adebug(self, event: object = None, *args: Any, **fields: Any) -> None:
        """`debug`."""
        self.debug(event, *args, **fields)

    async def awarning(self, event: object = None, *args: Any, **fields: Any) -> None:
        """`warning`."""
        self.warning(event, *args, **fields)

    async def aerror(self, event: object = None, *args: Any, **fields: Any) -> None:
        """`error`."""
        self.error(event, *args, **fields)

    async def acritical(self, event: object = None, *args: Any, **fields: Any) -> None:
        """`critical`."""
        self.critical(event, *args, **fields)

    async def aexception(self, event: object = None, *args: Any, **fields: Any) -> None:
        """`exception`."""
        self.exception(event, *args, **fields)

    def _say(self, level: int, event: object, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        error = None
        if "exc_info" in fields:
            error = exception_of(fields.pop("exc_info"))
        if self._fields:
            fields = {**self._fields, **fields}
        if args:
            event = formatted(event, args)
        self._pipeline.emit(level, self._name, event, fields, error)


def exception_of(exc_info: Any) -> BaseException | None:
    """The exception that an `exc_info` argument means: True (the one being handled), an exception, or a triple."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if len(exc_info) > 1 and isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None


def formatted(event: object, args: tuple[Any, ...]) -> str:
    """The event with its positional arguments; if they do not fit, both, unformatted."""
    try:
        # One mapping serves named placeholders, as in the standard library.
        return str(event) % (args[0] if len(args) == 1 and isinstance(args[0], dict) else args)
    except BaseException as error:  # noqa: BLE001  # a host object's __str__ may raise anything, even SystemExit
        boundary.say_once(
            "log format", f"a log call's arguments do not fit its message {text_of(event)!r}: {told(error)}"
        )
        return f"{text_of(event)} {text_of(args)}"


def logger_name(name: Any) -> str:
    """A logger's name as text of a bounded length."""
    text = name if type(name) is str else "" if name is None else text_of(name)
    return (text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…") or "root"


def get_logger(name: str = "", **fields: Any) -> Logger:
    """A logger, with fields that it adds to each line.

    Example:
        >>> import watchkeeper as wk
        >>> log = wk.get_logger(__name__)
        >>> log.bind(order_id=7).info("order placed", total_cents=1999)
    """
    return Logger(logger_name(name), fields)
