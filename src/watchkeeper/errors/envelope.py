"""Events as Sentry takes them: an envelope with one event.

https://develop.sentry.dev/sdk/foundations/envelopes/ and …/sdk/foundations/transport/event-payloads/. Source lines are
read here, in the export thread, and not where the error was caught.
"""

from __future__ import annotations

import linecache
import platform
import re
import socket
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from watchkeeper.errors.event import Breadcrumb, ErrorEvent, Frame, Problem, RequestFacts
from watchkeeper.tracing.api import VERSION
from watchkeeper.values import json_text, text_of

SDK_NAME = "watchkeeper.python"
LARGEST_EVENT = 900_000  # bytes; Sentry refuses events above a megabyte
CONTEXT_LINES = 5  # before and after
LONGEST_LINE = 256  # characters of source
MOST_CONTEXT_FRAMES = 60  # frames of one exception that show source, counted from the innermost
_LEVELS = {"critical": "fatal"}
_ROOTS = sorted({f"{sysconfig.get_path(name)}/" for name in ("stdlib", "purelib", "platlib")}, key=len, reverse=True)
_SURROGATES = re.compile("[\ud800-\udfff]")


class EnvelopeEncoder:
    """Encodes events for one process."""

    def __init__(self, wall_ns: Callable[[], int]) -> None:
        self._wall_ns = wall_ns
        self._server = socket.gethostname()

    def encode(self, events: Sequence[ErrorEvent]) -> bytes:
        """The envelope of the one event: Sentry takes no two in one."""
        (event,) = events
        payload = self._payload(event)
        header = {
            "event_id": event.event_id,
            "sent_at": _instant(self._wall_ns()),
            "sdk": {"name": SDK_NAME, "version": VERSION},
        }
        item = {"type": "event", "content_type": "application/json", "length": len(payload)}
        return b"\n".join((orjson.dumps(header), orjson.dumps(item), payload, b""))

    def _payload(self, event: ErrorEvent) -> bytes:
        payload = b""
        for smaller in _ever_smaller(event):
            payload = as_json(payload_of(smaller, self._server))
            if len(payload) <= LARGEST_EVENT:
                break
        return payload


def payload_of(event: ErrorEvent, server: str) -> dict[str, Any]:
    """The event's JSON, as Sentry names things. What is empty is left out."""
    request = event.request
    tags = dict(event.tags)
    tags |= {"category": event.category}
    tags |= {name: value for name in ("request_id", "correlation_id") if (value := getattr(event, name))}
    payload = {
        "event_id": event.event_id,
        "timestamp": _instant(event.time_ns),
        "platform": "python",
        "level": _LEVELS.get(event.severity, event.severity),
        "logger": event.logger,
        "transaction": f"{request.method} {request.route}" if request is not None and request.route else "",
        "server_name": server,
        "release": event.release,
        "environment": event.environment,
        "exception": {"values": _exceptions(event)} if event.exceptions else None,
        "logentry": {"formatted": event.message} if event.mechanism == "log" or not event.exceptions else None,
        "fingerprint": [event.fingerprint] if event.grouped_by_rule else None,
        "breadcrumbs": {"values": [_breadcrumb(each) for each in event.breadcrumbs]} if event.breadcrumbs else None,
        "request": _request(request) if request is not None else None,
        "user": dict(event.user),
        "tags": tags,
        "extra": dict(event.extra),
        "contexts": {
            "runtime": {"name": platform.python_implementation(), "version": platform.python_version()},
            "watchkeeper": {"fingerprint": event.fingerprint, "category": event.category, "repeats": event.repeats},
        },
        "sdk": {"name": SDK_NAME, "version": VERSION},
    }
    if event.trace_id:
        trace = {"trace_id": f"{event.trace_id:032x}", "span_id": f"{event.span_id:016x}"}
        payload["contexts"] = {"trace": trace, **payload["contexts"]}  # type: ignore[dict-item]
    return {name: value for name, value in payload.items() if value}


def as_json(value: Any) -> bytes:
    """JSON of a snapshot, whatever texts hold."""
    try:
        return orjson.dumps(value, default=_default, option=orjson.OPT_NON_STR_KEYS)
    except (orjson.JSONEncodeError, TypeError):  # lone surrogates, integers of more than 64 bits
        text = json_text(value, _default, ascii_only=False)
        return _SURROGATES.sub("\ufffd", text).encode()


def stack_text(event: ErrorEvent) -> str:
    """The stack as Python prints it, of an event whose exception is gone."""
    lines = []
    for at, problem in reversed(list(enumerate(event.exceptions))):
        if problem.frames:
            lines.append("Traceback (most recent call last):")
        for frame in problem.frames:
            lines.append(f'  File "{frame.path}", line {frame.line}, in {frame.function.rpartition(".")[2]}')
            source = linecache.getline(frame.path, frame.line).strip()
            if source:
                lines.append(f"    {source}")
        lines.append(f"{problem.qualified_type}: {problem.message}" if problem.message else problem.qualified_type)
        if at:
            lines += ["", _LED_TO[problem.source == "__cause__"], ""]
    return "\n".join(lines)


_LED_TO = {
    True: "The above exception was the direct cause of the following exception:",
    False: "During handling of the above exception, another exception occurred:",
}


def _exceptions(event: ErrorEvent) -> list[dict[str, Any]]:
    """Sentry wants what was caught last."""
    values = []
    for at, problem in enumerate(event.exceptions):
        mechanism: dict[str, Any] = {"type": event.mechanism, "handled": event.handled, "exception_id": at}
        if at:
            mechanism |= {"type": "chained", "parent_id": problem.parent, "source": problem.source}
        if problem.is_group:
            mechanism["is_exception_group"] = True
        value = {
            "type": problem.type,
            "module": problem.module,
            "value": problem.message,
            "mechanism": mechanism,
        }
        if problem.frames:
            value["stacktrace"] = {"frames": list(_frames(problem))}
        values.append(value)
    values.reverse()
    return values


def _frames(problem: Problem) -> Iterator[dict[str, Any]]:
    without_source = len(problem.frames) - MOST_CONTEXT_FRAMES
    for at, frame in enumerate(problem.frames):
        told: dict[str, Any] = {
            "module": frame.module,
            "function": frame.function,
            "filename": _shortened(frame),
            "abs_path": frame.path,
            "lineno": frame.line,
            "in_app": frame.in_app,
        }
        if at >= without_source:
            told |= source_of(frame)
        if frame.variables:
            told["vars"] = dict(frame.variables)
        yield told


def source_of(frame: Frame) -> dict[str, Any]:
    """The line and those around it; nothing where there is no source."""
    lines = linecache.getlines(frame.path)
    at = frame.line - 1
    if not 0 <= at < len(lines):
        return {}
    first = max(0, at - CONTEXT_LINES)
    shown = [line.rstrip("\r\n")[:LONGEST_LINE] for line in lines[first : at + 1 + CONTEXT_LINES]]
    return {
        "pre_context": shown[: at - first],
        "context_line": shown[at - first],
        "post_context": shown[at - first + 1 :],
    }


def _shortened(frame: Frame) -> str:
    """The path as imports see it: `shop/orders.py`."""
    root = frame.module.partition(".")[0]
    _, found, below = frame.path.rpartition(f"/{root}/") if root else ("", "", "")
    if found:
        return f"{root}/{below}"
    return next(
        (frame.path[len(each) :] for each in _ROOTS if frame.path.startswith(each)), frame.path.rpartition("/")[2]
    )


def _request(request: RequestFacts) -> dict[str, Any]:
    told: dict[str, Any] = {
        "method": request.method,
        "url": request.url,
        "query_string": request.query,
        "headers": dict(request.headers),
        "env": {"REMOTE_ADDR": request.client} if request.client else None,
    }
    return {name: value for name, value in told.items() if value}


def _breadcrumb(crumb: Breadcrumb) -> dict[str, Any]:
    told = {
        "timestamp": crumb.time_ns / 1e9,
        "type": crumb.category if crumb.category == "http" else "default",
        "category": crumb.category,
        "level": _LEVELS.get(crumb.level, crumb.level),
        "message": crumb.message,
        "data": dict(crumb.data),
    }
    return {name: value for name, value in told.items() if value}


def _ever_smaller(event: ErrorEvent) -> Iterator[ErrorEvent]:
    """The event, then without what can be missed, the least useful first."""
    yield event
    if any(frame.variables for problem in event.exceptions for frame in problem.frames):
        bare = (
            replace(each, frames=tuple(replace(one, variables={}) for one in each.frames)) for each in event.exceptions
        )
        event = replace(event, exceptions=tuple(bare))
        yield event
    event = replace(event, breadcrumbs=event.breadcrumbs[-10:])
    yield event
    event = replace(event, breadcrumbs=(), extra={"…": "too large to send"})
    yield event
    short = (replace(each, frames=each.frames[-10:], message=each.message[:1_000]) for each in event.exceptions[:5])
    yield replace(event, exceptions=tuple(short), message=event.message[:1_000])


def _default(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else text_of(value)


def _instant(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
