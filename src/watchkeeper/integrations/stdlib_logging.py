"""The standard library's logging, and servers' own loggers, into the one pipeline."""

from __future__ import annotations

import logging
import sys
from typing import Any

from watchkeeper.context import REQUEST_KEY, SPAN_KEY, Context, attach, detach
from watchkeeper.export.boundary import boundary, diagnostics
from watchkeeper.integrations.server_lines import SERVER_LOGGERS, heard
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


class Handler(logging.Handler):
    """Hands records to a pipeline."""

    def __init__(self, sink: Pipeline) -> None:
        super().__init__()
        self._pipeline = sink

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
        try:
            message: object = record.getMessage()
        except BaseException:  # noqa: BLE001  # arguments that do not fit, or whose __str__ raises anything
            message = f"{text_of(record.msg)} {text_of(record.args)}"
        said = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.stack_info:
            said["stack_info"] = record.stack_info
        try:
            message, fields, request = heard(record, message, said)
        except Exception as failure:  # noqa: BLE001  # the boundary: a server may say what it never said before
            boundary.failed("logging", failure)
            fields, request = said, None
        error = exception_of(record.exc_info)
        level = level_of(record.levelno, INFO)
        arguments = (level, logger_name(record.name), message, fields, error, _nanoseconds(record.created))
        if request is None:
            self._pipeline.emit(*arguments)
            return
        token = attach(Context({REQUEST_KEY: request, SPAN_KEY: request.span}))
        try:
            self._pipeline.emit(*arguments)
        finally:
            detach(token)


class Capture:
    """What was changed, so that it can be undone."""

    def __init__(self) -> None:
        self._handler: Handler | None = None
        self._removed: list[tuple[logging.Logger, logging.Handler]] = []
        self._root_level: int | None = None
        self._propagates: list[logging.Logger] = []
        self._listened: list[logging.Logger] = []  # beside the root
        self._hushed: list[logging.Logger] = []

    def install(self, sink: Pipeline) -> None:
        """Makes the root logger's lines the pipeline's. Idempotent."""
        root = logging.getLogger()
        if self._handler is None:
            self._handler = Handler(sink)
        self._hold(root, self._handler)
        if root.level == logging.WARNING and self._root_level is None:  # the default: nobody chose it
            self._root_level = root.level
            root.setLevel(max(sink.level, 1))
            self._hush()

    def adopt_servers(self) -> None:
        """Takes over the loggers of the servers that exist by now; they configure them at their own time.

        The root logger as well, if the application has configured it since.
        """
        if self._handler is None:
            return
        self._hold(logging.getLogger(), self._handler)
        for name in SERVER_LOGGERS:
            if name in logging.Logger.manager.loggerDict:
                self.adopt(logging.getLogger(name))

    def adopt(self, logger: logging.Logger) -> None:
        """Takes over a logger that prints by itself. Handlers of other kinds, such as of a file, go on."""
        if self._handler is None or not self._remove_console(logger) or logger.propagate:
            return
        logger.propagate = True
        self._propagates.append(logger)

    def listen(self, logger: logging.Logger) -> None:
        """Hears a logger that speaks to nobody above it, whatever else it writes to."""
        self.adopt(logger)
        if self._handler is not None and not logger.propagate and self._handler not in logger.handlers:
            logger.addHandler(self._handler)
            self._listened.append(logger)

    def set_up_anew(self) -> None:
        """Takes the root logger over once more, after somebody (Celery's worker) has taken all its handlers off."""
        root = logging.getLogger()
        if self._handler is None or self._handler in root.handlers:
            return
        self._removed = [(logger, handler) for logger, handler in self._removed if logger is not root]
        self._root_level = None  # theirs now
        self._remove_console(root)
        root.addHandler(self._handler)

    def uninstall(self) -> None:
        """Puts everything back."""
        root = logging.getLogger()
        if self._handler is not None:
            for logger in (root, *self._listened):
                logger.removeHandler(self._handler)
        if self._root_level is not None:
            root.setLevel(self._root_level)
        for logger, handler in self._removed:
            logger.addHandler(handler)
        for logger in self._propagates:
            logger.propagate = False
        for logger in self._hushed:
            if logger.level == logging.INFO:  # else the application has chosen meanwhile
                logger.setLevel(logging.NOTSET)
        self.__init__()  # type: ignore[misc]

    def _hush(self) -> None:
        """Keeps bodies out of the lines where it is we who let debug lines pass."""
        for logger in map(logging.getLogger, TELLING_LOGGERS):
            if logger.level == logging.NOTSET and logger.getEffectiveLevel() < logging.INFO:
                logger.setLevel(logging.INFO)
                self._hushed.append(logger)

    def _hold(self, root: logging.Logger, handler: logging.Handler) -> None:
        """Makes the root logger's lines ours, if they are not, or no more: `dictConfig` replaces its handlers."""
        if handler not in root.handlers:
            self._remove_console(root)
            root.addHandler(handler)

    def _remove_console(self, logger: logging.Logger) -> bool:
        found = [handler for handler in logger.handlers if _is_console(handler)]
        for handler in found:
            logger.removeHandler(handler)
            self._removed.append((logger, handler))
        return bool(found)


def _nanoseconds(seconds: Any) -> int | None:
    """A record's time; None, which is now, if it is not one."""
    usable = isinstance(seconds, float | int) and 0 <= seconds < _LATEST
    return int(seconds * 1e9) if usable else None


def _is_console(handler: Any) -> bool:
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return type(handler) is logging.StreamHandler and any(handler.stream is stream for stream in streams)


capture = Capture()


def install() -> None:
    """Captures the standard library's logging."""
    capture.install(pipeline)


def uninstall() -> None:
    """Gives it back."""
    capture.uninstall()
