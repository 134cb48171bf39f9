"""structlog's loggers into the one pipeline: applications keep `structlog.get_logger()` as it is.

Where they configured structlog, their processors run; only the last one, which makes text of the event, gives way to
one of ours, because the pipeline wants fields. Where structlog speaks through the standard library, it goes on doing
so, with its levels and its files, and the text carries the fields to our handler there. What it writes to a file by
itself is written there as well.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple, NoReturn

import wrapt

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.console_handlers import is_console
from watchkeeper.integrations.patching import Patches
from watchkeeper.logging.levels import CRITICAL, ERROR, INFO, level_of
from watchkeeper.logging.logger import exception_of, logger_name
from watchkeeper.logging.pipeline import pipeline

Processor = Callable[[Any, str, Any], Any]

NAME_ATTRIBUTE = "_watchkeeper_name"
_UNNAMED = "structlog"
_OUTPUT = "structlog._output"
_EVENTS = ("event", "message", "msg")  # structlog's own key, and what EventRenamer makes of it
# What processors add that each line has anyway, and what structlog tells itself.
_KNOWN = ("level", "logger", "timestamp", "_record", "_from_structlog")


class Said(NamedTuple):
    """An event, as a line is made of it."""

    logger: str
    message: object
    fields: dict[str, Any]
    error: BaseException | None


class Text(str):
    """What a renderer made of an event, and the event."""

    __slots__ = ("said",)
    said: Said


def structlog_processor(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> NoReturn:
    """Ends a chain of structlog's processors: the event is a line, with its fields, and nothing else is written.

    Applications need it only for loggers that have processors of their own (`structlog.wrap_logger`), or where
    `LogOptions.capture` is off; a chain that `structlog.configure` is told of is ended by itself.

    Example:
        >>> import structlog
        >>> import watchkeeper as wk
        >>> structlog.configure(processors=[structlog.contextvars.merge_contextvars, wk.structlog_processor])
    """
    _say(method, _said(logger, method, event_dict))
    raise sys.modules["structlog"].DropEvent  # it has been said


class Ending:
    """In the place of the last processors of a chain, which it keeps."""

    def __init__(self, theirs: list[Processor]) -> None:
        self.theirs = theirs

    def __call__(self, logger: Any, method: str, event_dict: Any) -> Any:
        """Says the event, or hands it to the standard library with its fields."""
        if not isinstance(event_dict, MutableMapping):
            return self._rendered(logger, method, event_dict)
        if isinstance(logger, logging.Logger | logging.LoggerAdapter):
            said = _said(logger, method, dict(event_dict))
            return _with_fields(self._rendered(logger, method, event_dict), said)
        if _prints(logger):
            structlog_processor(logger, method, event_dict)
        _say(method, _said(logger, method, dict(event_dict)))
        return self._rendered(logger, method, event_dict)  # to a file of theirs, or to who knows what

    def _rendered(self, logger: Any, method: str, event: Any) -> Any:
        for processor in self.theirs:
            event = processor(logger, method, event)
        return event


class NamingFactory:
    """Makes structlog's loggers as another factory does, and lets them keep the name they were asked for by."""

    def __init__(self, theirs: Callable[..., Any]) -> None:
        self.theirs = theirs

    def __call__(self, *args: Any) -> Any:
        """A logger to be wrapped."""
        made = self.theirs(*args)
        if args:
            with contextlib.suppress(AttributeError):
                setattr(made, NAME_ATTRIBUTE, logger_name(args[0]))
        return made


def said_in(record: logging.LogRecord) -> Said | None:
    """What structlog said, of a record that it handed to the standard library; None of any other record."""
    if type(record.msg) is Text:
        return record.msg.said
    event: Any = record.msg
    if isinstance(event, dict) and hasattr(record, "_logger") and hasattr(record, "_name"):  # wrap_for_formatter's
        said: Any = vars(record)
        return _said(said["_logger"], said["_name"], dict(event))
    return None


class Structlog:
    """What was changed of structlog's configuration, so that it can be undone."""

    def __init__(self) -> None:
        self._wanted = False
        self._patches = Patches()
        self._own: list[Processor] = [structlog_processor]  # while nobody but us has configured it
        self._ended: list[list[Processor]] = []

    def install(self) -> None:
        """Adopts structlog's configuration, now or as soon as structlog is imported, which takes 200 ms."""
        if not self._wanted:
            self._wanted = True
            wrapt.register_post_import_hook(lambda _module: self.adopt(), "structlog")
        self.adopt()

    def adopt(self) -> None:
        """Configures structlog, or ends the chain of an application that did."""
        structlog: Any = sys.modules.get("structlog")
        if not self._wanted or structlog is None or not hasattr(structlog, "is_configured"):
            return
        if not self._patches:
            for name in ("configure", "configure_once"):
                self._patches.wrap(structlog, name, self._configured)
        if not structlog.is_configured():
            structlog.configure.__wrapped__(
                processors=self._own,
                wrapper_class=structlog.make_filtering_bound_logger(_level_below(pipeline.level)),
                logger_factory=NamingFactory(structlog.PrintLoggerFactory()),
                cache_logger_on_first_use=False,
            )
            pipeline.more_fields = structlog.contextvars.get_contextvars
        elif structlog.get_config()["processors"] is not self._own:
            self._end(structlog)

    def uninstall(self) -> None:
        """Gives structlog its configuration back."""
        structlog: Any = sys.modules.get("structlog")
        self._patches.undo()
        for chain in self._ended:
            with contextlib.suppress(ValueError, IndexError):  # whoever has changed it since
                if isinstance(chain[-1], Ending):
                    chain[-1:] = chain[-1].theirs
        if structlog is not None and hasattr(structlog, "get_config"):
            self._forget(structlog)
            factory = structlog.get_config()["logger_factory"]
            if isinstance(factory, NamingFactory):
                structlog.configure(logger_factory=factory.theirs)
        pipeline.more_fields = None
        self._wanted = False
        self._ended = []

    def _forget(self, structlog: Any) -> None:
        if structlog.get_config()["processors"] is self._own:
            structlog.reset_defaults()
            pipeline.more_fields = None

    def _configured(self, wrapped: Any, _module: Any, args: Any, kwargs: Any) -> Any:
        """The application configures it: what it does not mention is structlog's own, not ours."""
        self._forget(sys.modules["structlog"])
        answer = wrapped(*args, **kwargs)
        try:
            self.adopt()
        except Exception as failure:  # noqa: BLE001  # the boundary: processors may be anything
            boundary.failed("structlog", failure)
        return answer

    def _end(self, structlog: Any) -> None:
        """Replaces the last processors in their list, which loggers that are bound hold too."""
        config = structlog.get_config()
        chain, factory = config["processors"], config["logger_factory"]
        if not isinstance(chain, list):
            chain = list(chain)
        if chain and chain[-1] is not structlog_processor and not isinstance(chain[-1], Ending):
            renderers = [at for at, processor in enumerate(chain) if _renders(processor)]
            at = renderers[0] if renderers else len(chain) - 1
            chain[at:] = [Ending(chain[at:])]
            self._ended.append(chain)
        if type(factory).__module__ == _OUTPUT:
            factory = NamingFactory(factory)
        structlog.configure.__wrapped__(processors=chain, logger_factory=factory)
        if structlog.contextvars.merge_contextvars in chain:
            pipeline.more_fields = structlog.contextvars.get_contextvars


def _prints(logger: Any) -> bool:
    """Whether one of structlog's own loggers does; some have kept the stdout of the moment it was imported."""
    file = getattr(logger, "_file", None)
    output = sys.modules.get(_OUTPUT)
    return is_console(file) or (
        file is not None and file in (getattr(output, "stdout", 0), getattr(output, "stderr", 0))
    )


def _renders(processor: Any) -> bool:
    """Whether one of structlog's own processors makes text of an event."""
    kind = processor if isinstance(processor, type) else type(processor)
    return (
        kind.__module__.startswith("structlog.")
        and kind.__name__.endswith("Renderer")
        and (kind.__name__ not in {"StackInfoRenderer", "ExceptionRenderer"})
    )


def _said(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> Said:
    """An event, told. It is changed."""
    exc_info = event_dict.pop("exc_info", None)
    # A processor may have made text of the exception, which then is still being handled.
    error = exception_of(exc_info or method == "exception" or "exception" in event_dict)
    if error is not None:
        event_dict.pop("exception", None)
    name = event_dict.get("logger") or getattr(logger, NAME_ATTRIBUTE, None) or getattr(logger, "name", None)
    message = next((event_dict.pop(key) for key in _EVENTS if key in event_dict), "")
    for key in _KNOWN:
        event_dict.pop(key, None)
    return Said(logger_name(name or _UNNAMED), message, dict(event_dict), error)


def _say(method: str, said: Said) -> None:
    level = level_of(method, ERROR if method == "exception" else INFO)
    if level >= pipeline.level:
        pipeline.emit(level, said.logger, said.message, said.fields, said.error)


def _with_fields(rendered: Any, said: Said) -> Any:
    """What goes to a logger of the standard library: text, or arguments for it."""
    if isinstance(rendered, dict) and isinstance(rendered.get("msg"), str):
        return {**rendered, "msg": _text(rendered["msg"], said)}
    if isinstance(rendered, tuple) and rendered and isinstance(rendered[0], tuple) and rendered[0]:
        args = rendered[0]
        return ((_text(args[0], said), *args[1:]), *rendered[1:]) if isinstance(args[0], str) else rendered
    return _text(rendered, said) if isinstance(rendered, str) else rendered


def _text(rendered: str, said: Said) -> Text:
    text = Text(rendered)
    text.said = said
    return text


def _level_below(level: int) -> int:
    """structlog filters by its own levels only: the highest of them that keeps all that we keep."""
    return max(0, min(level // 10 * 10, CRITICAL))


_structlog = Structlog()


def install() -> None:
    """Takes structlog's lines over."""
    _structlog.install()


def uninstall() -> None:
    """Gives them back."""
    _structlog.uninstall()
