"""How servers and frameworks speak: what their access lines hold, and of which request they are.

Some say their line when the request's context has ended. gunicorn's has the request in what it logs; of a development
server (Django's runserver, Flask's) it is in the environ of a call that is still going on.
"""

from __future__ import annotations

import logging
import re
import sys
from collections import deque
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NamedTuple

from opentelemetry.trace import INVALID_SPAN, Span

from watchkeeper.context import Request, usable_id

ENVIRON_KEY = "watchkeeper"  # the exchange in a WSGI environ; marks it as served, too
_UVICORN_FIELDS = ("client", "method", "path", "http_version", "status")
_GUNICORN_ATOMS = {"client": "h", "method": "m", "path": "U", "http_version": "H", "status": "s"}
_GUNICORN_REQUEST = f"{{{ENVIRON_KEY}}}e"  # as gunicorn's atoms name it
_GUNICORN_ANSWERED, _GUNICORN_CORRELATED = "{x-request-id}o", "{x-correlation-id}o"  # headers of the response
_CELERY_FIELDS = {"task_id": "id", "task_name": "name"}
_REQUEST_LINE = re.compile(r"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/(?P<http_version>[\d.]+)")
_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_MOST_FRAMES = 16


class Heard(NamedTuple):
    """What a line says beyond its message: its fields, the message without decoration, and its request if found."""

    message: object
    fields: dict[str, Any]
    request: Request | None = None


class _Answered:
    """What is known of a request by its answer alone."""

    def __init__(self, request_id: str, correlation_id: str) -> None:
        self.request_id = request_id
        self.correlation_id = correlation_id
        self.bound: dict[str, Any] | None = None
        self.breadcrumbs: deque[Any] | None = None
        self.span: Span | None = INVALID_SPAN


def heard(record: logging.LogRecord, message: object, fields: dict[str, Any]) -> Heard:
    """A line as its speaker means it; of speakers that nobody knows, as it is."""
    read = _READERS.get(record.name)
    if read is not None:
        return read(record, message, fields)
    if record.name.startswith("django."):
        fields.pop("request", None)  # the object, of which the line has the ids
    elif record.name.startswith("celery.") and isinstance(fields.get("data"), Mapping):
        data = fields.pop("data")  # with arguments and results, which Celery's own lines keep to themselves
        fields |= {field: data[name] for field, name in _CELERY_FIELDS.items() if name in data}
    return Heard(message, fields)


def _uvicorn(record: logging.LogRecord, message: object, fields: dict[str, Any]) -> Heard:
    if isinstance(record.args, tuple) and len(record.args) == len(_UVICORN_FIELDS):
        fields |= dict(zip(_UVICORN_FIELDS, record.args, strict=True))
    return Heard(message, fields)


def _uvicorn_itself(_record: logging.LogRecord, message: object, fields: dict[str, Any]) -> Heard:
    return Heard(message.rstrip("\n") if isinstance(message, str) else message, fields)


def _gunicorn(record: logging.LogRecord, message: object, fields: dict[str, Any]) -> Heard:
    if not isinstance(record.args, Mapping):
        return Heard(message, fields)
    fields |= {name: record.args.get(atom) for name, atom in _GUNICORN_ATOMS.items()}
    request: Any = record.args.get(_GUNICORN_REQUEST)
    if hasattr(request, "request_id"):
        return Heard(message, fields, request)
    told = record.args.get(_GUNICORN_ANSWERED)  # its own ASGI worker has nothing of the scope, but the answer's headers
    if not isinstance(told, str) or not usable_id(told):
        return Heard(message, fields)
    correlated = record.args.get(_GUNICORN_CORRELATED)
    return Heard(message, fields, _Answered(told, correlated if isinstance(correlated, str) else told))


def _development_server(record: logging.LogRecord, message: object, fields: dict[str, Any]) -> Heard:
    """Django's and Werkzeug's, which both say `"%s" %s %s` of the request line, the status and the size."""
    text = _COLOURS.sub("", message).rstrip() if isinstance(message, str) else message
    fields.pop("request", None)  # a socket
    fields.pop("server_time", None)
    if not isinstance(record.args, tuple) or len(record.args) != 3:  # noqa: PLR2004  # as above
        return Heard(text, fields)
    line, status, _size = (_COLOURS.sub("", str(argument)) for argument in record.args)
    found = _REQUEST_LINE.fullmatch(line)
    if found is None or not status.isdecimal():
        return Heard(text, fields)
    return Heard(text, {**fields, **found.groupdict(), "status": int(status)}, _served_above())


def _served_above() -> Request | None:
    """The request whose environ one of the calls above us works on."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  # logging finds its callers by it, too
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return None
        environ = frame.f_locals.get("environ") or getattr(frame.f_locals.get("self"), "environ", None)
        request: Any = environ.get(ENVIRON_KEY) if isinstance(environ, dict) else None
        if hasattr(request, "request_id"):
            return request  # type: ignore[no-any-return]  # the middleware has put it there
        frame = frame.f_back
    return None


_READERS: dict[str, Callable[[logging.LogRecord, object, dict[str, Any]], Heard]] = {
    "uvicorn.access": _uvicorn,
    "uvicorn.error": _uvicorn_itself,
    "gunicorn.access": _gunicorn,
    "django.server": _development_server,
    "werkzeug": _development_server,
}
