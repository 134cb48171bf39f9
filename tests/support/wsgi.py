"""A way to call a WSGI application, as strictly as the standard library's validator does."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from wsgiref.validate import validator


@dataclass
class Response:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    starts: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    error: BaseException | None = None


def environ_of(path: str, method: str = "GET", headers: Iterable[tuple[str, str]] = (), **more: Any) -> dict[str, Any]:
    bare_path, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": bare_path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "shop.example:8000",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "50123",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        key = name.upper().replace("-", "_")
        environ[key if key in {"CONTENT_LENGTH", "CONTENT_TYPE"} else f"HTTP_{key}"] = value
    return environ | more


def call(
    app: Callable[..., Any],
    path: str = "/",
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    parts: int | None = None,
    **environ: Any,
) -> Response:
    """One request; an exception that the application lets out is kept in the response.

    With `parts`, the client leaves after so many parts of the body.
    """
    response = Response()

    def start_response(status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        response.starts.append((status, fields))
        response.status = int(status[:3])
        response.headers = {name.lower(): value for name, value in fields}
        return write

    def write(data: bytes) -> None:
        response.body += data

    try:
        result = validator(app)(environ_of(path, method, headers, **environ), start_response)
        try:
            for number, part in enumerate(result, 1):
                response.body += part
                if number == parts:
                    break
        finally:
            result.close()
    except BaseException as error:  # noqa: BLE001
        response.error = error
    return response
