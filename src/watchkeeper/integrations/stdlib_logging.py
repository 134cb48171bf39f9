"""The standard library's logging, and servers' own loggers, into the one pipeline.

What would be printed is written by the pipeline instead, whenever and wherever a handler is attached that prints: a
handler of ours stands in its place. What reaches the root logger is the pipeline's in any case. Other handlers, such as
of a file, are the application's and go on. A line is said once, whatever the number of ours on its way.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from watchkeeper.context import REQUEST_KEY, SPAN_KEY, Context, attach, detach
from watchkeeper.export.boundary import boundary, diagnostics
from watchkeeper.integrations.console_handlers import behind_queue, prints
from watchkeeper.integrations.patching import Patches, argument
from watchkeeper.integrations.server_lines import Heard, heard
from watchkeeper.integrations.structlog_logging import said_in
from watchkeeper.logging.levels import INFO, level_of
from watchkeeper.logging.logger import exception_of, logger_name
from watchkeeper.logging.pipeline import Pipeline, pipeline
from watchkeeper.values import text_of

OWN_THREADS = "watchkeeper-"
# Their debug lines hold bodies of messages, prompts and documents: who wants those sets the logger's own level.
TELLING_LOGGERS = ("aio_pika", "aiormq", "anthropic", "botocore", "mcp", "openai", "pymongo")
EXPORTING_THREADS = ("watchkeeper-export", "watchkeeper-logs")
_LATEST = 2**63 / 1e9  # seconds since 1970 that nanoseconds of 64 bits can count
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
_taken = threading.local()


class Handler(logging.Handler):
    """Hands records to a pipeline."""

    def __init__(self, sink: Pipeline) -> None:
        super().__init__()
        self._pipeline = sink

    @property
    def sink(self) -> Pipeline:
        """Where records go."""
        return self._pipeline

    def handle(self, record: logging.LogRecord) -> Any:
        """Takes a record that none of ours has taken: loggers above one another may each have one."""
        last = getattr(_taken, "last", None)
        if last is not None and last() is record:
            return False
        taken = super().handle(record)
        if taken:
            _taken.last = weakref.ref(record)  # no more than that, or its error would live on
        return taken

    def createLock(self) -> None:  # noqa: N802  # the standard library's name
        """None needed: the pipeline is safe for any thread, and a lock is one more thing to be held at a fork."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Hands one record over.

        What libraries say in our own threads while exporting (urllib3 does) would follow itself for ever, and where the
        application's functions are asked again and again (how long a queue is), less than a warning is noise. What we
        say there ourselves (that lines are dropped, say) is said once a process.
        """
        thread = record.threadName if isinstance(record.threadName, str) else ""
        if (
            thread.startswith(OWN_THREADS)
            and record.name != diagnostics.name
            and (record.levelno < logging.WARNING or thread.startswith(EXPORTING_THREADS))
        ):
            return
        told = said_in(record)
        if told is not None:
            name, message, fields, error = told
            request = None
        else:
            name, error = logger_name(record.name), exception_of(record.exc_info)
            message, fields, request = _heard(record)
        level = level_of(record.levelno, INFO)
        arguments = (level, name, message, fields, error, _nanoseconds(record.created))
        if request is None:
            self._pipeline.emit(*arguments)
            return
        token = attach(Context({REQUEST_KEY: request, SPAN_KEY: request.span}))
        try:
            self._pipeline.emit(*arguments)
        finally:
            detach(token)


def _heard(record: logging.LogRecord) -> Heard:
    """What a record says."""
    try:
        message: object = record.getMessage()
    except BaseException:  # noqa: BLE001  # arguments that do not fit, or whose __str__ raises anything
        message = f"{text_of(record.msg)} {text_of(record.args)}"
    said = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    if record.stack_info:
        said["stack_info"] = record.stack_info
    try:
        return heard(record, message, said)
    except Exception as failure:  # noqa: BLE001  # the boundary: a server may say what it never said before
        boundary.failed("logging", failure)
        return Heard(message, said)


class StandIn(Handler, logging.StreamHandler[Any]):
    """In the place of a handler that prints.

    It is a StreamHandler, since applications look for one before they add another.
    """

    def __init__(self, sink: Pipeline, theirs: Any, *, queued: bool = False) -> None:
        super().__init__(sink)
        self.theirs = theirs
        self.queued = queued  # theirs is called by a queue's listener, and no logger's own
        self.stream = getattr(theirs, "stream", self.stream)
        # Django's tell where a line is wanted, not which one: in production nowhere, if it were for the console.
        self.filters = [each for each in theirs.filters if type(each).__module__ != "django.utils.log"]

    def filter(self, record: logging.LogRecord) -> Any:
        """What their level and filters keep out stays out, but for a level that our own options ask for."""
        if record.levelno < min(self.theirs.level, self._pipeline.level):
            return False
        return super().filter(record)

    def setLevel(self, level: int | str) -> None:  # noqa: N802  # the standard library's name
        """Theirs."""
        self.theirs.setLevel(level)

    def flush(self) -> None:
        """Nothing waits here."""


class Capture:
    """What was changed, so that it can be undone."""

    def __init__(self) -> None:
        self._handler: Handler | None = None
        self._patches = Patches()
        self._listeners: list[tuple[Any, tuple[Any, ...]]] = []  # with all their handlers
        self._root_level: tuple[int, int] | None = None  # before us, and ours
        self._hushed: list[logging.Logger] = []

    def install(self, sink: Pipeline) -> None:
        """Makes the pipeline's what would be printed, and what reaches the root logger. Idempotent."""
        root = logging.getLogger()
        if self._handler is None:
            self._handler = Handler(sink)
            self._patches.wrap(logging.Logger, "addHandler", self._added)
            self._patches.wrap(logging.Logger, "removeHandler", self._was_removed)
            self._patches.wrap(logging, "basicConfig", self._basic_config)
            self._patches.wrap_once_imported("logging.config", "DictConfigurator.configure", self._configured)
            self._patches.wrap_once_imported("logging.config", "fileConfig", self._configured)
        self.adopt()
        if root.level == logging.WARNING and self._root_level is None:  # the default: nobody chose it
            self._root_level = (root.level, max(sink.level, 1))
            root.setLevel(self._root_level[1])
            self._hush()

    def adopt(self) -> None:
        """Takes over whatever prints by now, also what was put into a list of handlers past `addHandler`."""
        if self._handler is not None:
            for logger in _loggers():
                self._take(logger)

    def listen(self, logger: logging.Logger) -> None:
        """Hears a logger that speaks to nobody above it, whatever else it writes to."""
        self._take(logger)
        if self._handler is not None and not logger.propagate and not _heard_at(logger):
            logger.addHandler(self._handler)

    def set_up_anew(self) -> None:
        """Takes the root logger over once more, after somebody (Celery's worker) has taken all its handlers off."""
        if self._handler is not None and not _heard_at(logging.getLogger()):
            self._root_level = None  # theirs now
        self._take(logging.getLogger())

    def uninstall(self) -> None:
        """Puts everything back."""
        self._patches.undo()
        for logger in _loggers():
            logger.handlers[:] = [
                handler.theirs if isinstance(handler, StandIn) else handler
                for handler in logger.handlers
                if handler is not self._handler and not (isinstance(handler, StandIn) and handler.queued)
            ]
        for listener, handlers in self._listeners:
            listener.handlers = handlers
        root = logging.getLogger()
        if self._root_level is not None and root.level == self._root_level[1]:  # else the application's, meanwhile
            root.setLevel(self._root_level[0])
        for logger in self._hushed:
            if logger.level == logging.INFO:  # likewise
                logger.setLevel(logging.NOTSET)
        self.__init__()  # type: ignore[misc]

    def _take(self, logger: logging.Logger) -> None:
        """Replaces what prints, in its place; sees to it that the root logger has one handler of ours at least."""
        if self._handler is None:
            return
        for handler in list(logger.handlers):
            if isinstance(handler, Handler):
                continue
            if prints(handler):
                self._stand_in(logger, handler)
            elif any(map(prints, behind_queue(handler))):
                self._take_from_queue(logger, handler)
        if logger is logging.getLogger():
            if not _heard_at(logger):
                logger.addHandler(self._handler)
            elif any(isinstance(handler, StandIn) for handler in logger.handlers):
                logger.removeHandler(self._handler)

    def _stand_in(self, logger: logging.Logger, theirs: Any) -> None:
        assert self._handler is not None  # noqa: S101  # for the type checker
        known = any(isinstance(handler, StandIn) and handler.theirs is theirs for handler in logger.handlers)
        with contextlib.suppress(ValueError):  # another thread has removed it
            at = logger.handlers.index(theirs)
            logger.handlers[at : at + 1] = [] if known else [StandIn(self._handler.sink, theirs)]

    def _take_from_queue(self, logger: logging.Logger, theirs: Any) -> None:
        """What prints goes out of a queue's listener, and stands beside the queue: files stay behind it."""
        assert self._handler is not None  # noqa: S101  # for the type checker
        handlers = behind_queue(theirs)
        self._listeners.append((theirs.listener, handlers))
        theirs.listener.handlers = tuple(handler for handler in handlers if not prints(handler))
        for handler in handlers:
            if prints(handler):
                logger.addHandler(StandIn(self._handler.sink, handler, queued=True))

    def _added(self, wrapped: Any, logger: Any, args: Any, kwargs: Any) -> Any:
        answer = wrapped(*args, **kwargs)
        if not isinstance(argument(args, kwargs, 0, "hdlr"), Handler):
            with _guarded():
                self._take(logger)
        return answer

    def _was_removed(self, wrapped: Any, logger: Any, args: Any, kwargs: Any) -> Any:
        answer = wrapped(*args, **kwargs)
        handler = argument(args, kwargs, 0, "hdlr")
        with _guarded():
            for stands in list(logger.handlers):
                if isinstance(stands, StandIn) and stands.theirs is handler:
                    wrapped(stands)
                    self._take(logger)
        return answer

    def _basic_config(self, wrapped: Any, _module: Any, args: Any, kwargs: Any) -> Any:
        """It does nothing where the root logger has a handler, of which ours is none of the application's."""
        root = logging.getLogger()
        if root.handlers == [self._handler]:
            root.handlers.clear()
        try:
            return wrapped(*args, **kwargs)
        finally:
            with _guarded():
                self._take(root)

    def _configured(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        answer = wrapped(*args, **kwargs)
        with _guarded():
            self.adopt()
        return answer

    def _hush(self) -> None:
        """Keeps bodies out of the lines where it is we who let debug lines pass."""
        for logger in map(logging.getLogger, TELLING_LOGGERS):
            if logger.level == logging.NOTSET and logger.getEffectiveLevel() < logging.INFO:
                logger.setLevel(logging.INFO)
                self._hushed.append(logger)


def _loggers() -> list[logging.Logger]:
    """All that exist."""
    made = list(logging.Logger.manager.loggerDict.values())
    return [logging.getLogger(), *(logger for logger in made if isinstance(logger, logging.Logger))]


def _heard_at(logger: logging.Logger) -> bool:
    return any(isinstance(handler, Handler) for handler in logger.handlers)


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    try:
        yield
    except Exception as failure:  # noqa: BLE001  # the boundary: loggers and handlers may be of any class
        boundary.failed("logging", failure)


def _nanoseconds(seconds: Any) -> int | None:
    """A record's time; None, which is now, if it is not one."""
    usable = isinstance(seconds, float | int) and 0 <= seconds < _LATEST
    return int(seconds * 1e9) if usable else None


capture = Capture()


def install() -> None:
    """Captures the standard library's logging."""
    capture.install(pipeline)


def uninstall() -> None:
    """Gives it back."""
    capture.uninstall()
