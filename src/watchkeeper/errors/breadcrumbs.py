"""Breadcrumbs: what happened before an error, kept as it was said, and made readable only when there is an error.

A request keeps its own hundred; outside of requests they belong to the current context (a thread, a task and the
tasks it starts). Noting one is an append.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Literal

from watchkeeper.clock import Clock
from watchkeeper.context import Request, current_request
from watchkeeper.errors.event import Breadcrumb
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.calls import CACHE, DATABASE, HTTP, MODEL, QUEUE, Call
from watchkeeper.logging.levels import INFO, level_of, severity_of
from watchkeeper.logging.pipeline import pipeline
from watchkeeper.logging.record import Record
from watchkeeper.tracing.span import Span
from watchkeeper.values import text_of

MOST_BREADCRUMBS = 100
_SUBJECTS = {DATABASE: "database", HTTP: "http", CACHE: "cache", QUEUE: "queue", MODEL: "llm"}

Level = Literal["debug", "info", "warning", "error"]
Noted = Record | Call | Breadcrumb


class Trail:
    """Notes breadcrumbs while errors are watched."""

    def __init__(self) -> None:
        self.active = False
        self.restart()

    def restart(self) -> None:
        """Forgets what was noted outside of requests, in whatever context."""
        self._outside: ContextVar[deque[Noted] | None] = ContextVar("watchkeeper-breadcrumbs", default=None)

    def note(self, item: Noted, request: Request | None) -> None:
        """Keeps an item; the oldest of a hundred makes room."""
        kept = self._outside.get() if request is None else getattr(request, "breadcrumbs", None)
        if kept is None:
            kept = self._begun(request)
        kept.append(item)

    def _begun(self, request: Request | None) -> deque[Noted]:
        kept: deque[Noted] = deque(maxlen=MOST_BREADCRUMBS)
        try:
            if request is not None:
                request.breadcrumbs = kept
                return kept
        except AttributeError:  # a request of somebody else's making, without room for them
            kept = self._outside.get() or kept
        self._outside.set(kept)
        return kept

    def called(self, call: Call) -> None:
        """A call of something outside has ended."""
        self.note(call, current_request())

    def told(self, request: Request | None, trace_id: int, clock: Clock) -> tuple[Breadcrumb, ...]:
        """What was noted, the oldest first; of an error outside of requests that has a trace, nothing of another's."""
        kept: Iterable[Noted] | None = getattr(request, "breadcrumbs", None)
        every = kept is not None or not trace_id
        kept = kept or self._outside.get() or ()
        now = clock.wall_ns() - clock.monotonic_ns()
        return tuple([_readable(item, now) for item in list(kept) if every or _trace_of(item) in {0, trace_id}])


def add_breadcrumb(
    message: str | Mapping[str, Any] = "",
    /,
    *,
    category: str = "app",
    level: Level | str = "info",
    data: Mapping[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Notes something that would help to understand an error, should one follow in this request or context.

    Log lines from info upwards and calls of databases, caches, queues and other services are noted without it. `data`
    and further fields go along. sentry-sdk's ways are understood: a `message` by keyword, all of it in one mapping.

    Example:
        >>> import watchkeeper as wk
        >>> wk.add_breadcrumb("cart was restored", category="cart", items=3)
    """
    if not trail.active:
        return
    try:
        if isinstance(message, Mapping):
            said = {"category": category, "level": level, "data": data, **fields, **message}
            add_breadcrumb(**{text_of(name): value for name, value in said.items()})
            return
        text = text_of(message or fields.pop("message", ""))
        redaction = pipeline.redaction
        found = redaction.snapshot({**data, **fields} if isinstance(data, Mapping) else _with(fields, data))
        name = severity_of(level_of(level, INFO)).name
        crumb = Breadcrumb(pipeline.clock.wall_ns(), text_of(category), redaction.text(text), name, found)
        trail.note(crumb, current_request())
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("breadcrumbs", failure)


def _with(fields: dict[str, Any], data: Any) -> dict[str, Any]:
    """What goes along, with whatever `data` is that is no mapping."""
    return fields if data is None else {"data": data, **fields}


def _trace_of(item: Noted) -> int:
    if type(item) is Record:
        return item.trace_id
    return item.span.get_span_context().trace_id if isinstance(item, Call) else 0


def _readable(item: Noted, boot_ns: int) -> Breadcrumb:
    if isinstance(item, Record):
        level = severity_of(item.level).name
        data = item.fields if item.failure is None else {**item.fields, "error.type": item.failure.type}
        return Breadcrumb(item.time_ns, f"log.{item.logger}", item.message, level, data)
    if isinstance(item, Call):
        span = item.span
        data = {"seconds": round(item.seconds, 6), **(span.attributes if type(span) is Span else {})}
        level = "info"
        if item.error_type:
            data["error.type"], level = item.error_type, "error"
        return Breadcrumb(boot_ns + item.started, _SUBJECTS.get(item.subject, "call"), item.name, level, data)
    return item


trail = Trail()
