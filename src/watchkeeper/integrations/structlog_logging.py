"""structlog's loggers into the one pipeline: applications keep `structlog.get_logger()` as it is."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from watchkeeper.logging.levels import CRITICAL, ERROR, level_of
from watchkeeper.logging.logger import exception_of
from watchkeeper.logging.pipeline import pipeline

_installed = False


def install() -> None:
    """Configures structlog, unless the application did.

    Importing it takes 200 ms, so nothing happens where nobody has.
    """
    global _installed  # noqa: PLW0603  # structlog's configuration is global too
    structlog: Any = sys.modules.get("structlog")
    if structlog is None or _installed or not hasattr(structlog, "is_configured") or structlog.is_configured():
        return

    def speak(_logger: Any, method: str, event_dict: dict[str, Any]) -> NoReturn:
        fields = dict(event_dict)
        error = exception_of(fields.pop("exc_info", None) or method == "exception")
        name = str(fields.pop("logger", "structlog"))
        level = level_of(method, ERROR)
        if level >= pipeline.level:
            pipeline.emit(level, name, fields.pop("event", ""), fields, error)
        raise structlog.DropEvent  # it has been said

    structlog.configure(
        processors=[speak],
        wrapper_class=structlog.make_filtering_bound_logger(_level_below(pipeline.level)),
        cache_logger_on_first_use=False,
    )
    pipeline.more_fields = structlog.contextvars.get_contextvars
    _installed = True


def _level_below(level: int) -> int:
    """structlog filters by its own levels only: the highest of them that keeps all that we keep."""
    return max(0, min(level // 10 * 10, CRITICAL))


def uninstall() -> None:
    """Gives structlog its own defaults back."""
    global _installed  # noqa: PLW0603
    if _installed:
        sys.modules["structlog"].reset_defaults()
        pipeline.more_fields = None
        _installed = False
