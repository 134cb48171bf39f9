"""The applications that `sdk.py` measures: an endpoint that answers JSON, alone or after 99 other routes."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

Say = Callable[[int], None]

FRAMEWORKS = ("fastapi", "flask", "django")
DJANGO: dict[str, Any] = {  # settings; some ways to instrument are written into them
    "ALLOWED_HOSTS": ["*"],
    "INSTALLED_APPS": [],
    "MIDDLEWARE": ["django.middleware.common.CommonMiddleware"],
    "LOGGING_CONFIG": None,
}
_HEADERS = {
    "host": "shop.example:8000",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br",
    "connection": "keep-alive",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
_HEADER_LIST = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]


def silent(_order_id: int) -> None:
    """No log line."""


def make_app(framework: str, routes: int, say: Say) -> Any:
    """The application: `say` is what its endpoint logs with."""
    # each process imports only the framework that it measures
    return {"fastapi": _fastapi, "flask": _flask, "django": _django}[framework](routes, say)


def answer(order_id: int, say: Say) -> dict[str, int]:
    """What the endpoint does."""
    say(order_id)
    return {"order_id": order_id, "total_cents": 1999}


def _fastapi(routes: int, say: Say) -> Any:
    from fastapi import FastAPI  # noqa: PLC0415

    app = FastAPI()

    async def order(order_id: int) -> dict[str, int]:
        return answer(order_id, say)

    for number in range(routes - 1):
        app.get(f"/other{number}/{{order_id}}")(order)
    app.get("/orders/{order_id}")(order)
    return app


def _flask(routes: int, say: Say) -> Any:
    from flask import Flask  # noqa: PLC0415

    app = Flask("shop")

    def order(order_id: int) -> dict[str, int]:
        return answer(order_id, say)

    for number in range(routes - 1):
        app.add_url_rule(f"/other{number}/<int:order_id>", f"other{number}", order)
    app.add_url_rule("/orders/<int:order_id>", "order", order)
    return app


class Urls:
    """Django's module of routes."""

    urlpatterns: list[Any] = []  # noqa: RUF012  # as Django wants it


def configure_django() -> None:
    """Fixes the settings; what instruments Django changes them before or after."""
    from django.conf import settings  # noqa: PLC0415

    if not settings.configured:
        settings.configure(ROOT_URLCONF=Urls, **DJANGO)


def _django(routes: int, say: Say) -> Any:
    configure_django()
    import django  # noqa: PLC0415
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415
    from django.http import JsonResponse  # noqa: PLC0415
    from django.urls import path  # noqa: PLC0415

    def order(_request: Any, order_id: int) -> Any:
        return JsonResponse(answer(order_id, say))

    Urls.urlpatterns = [
        *(path(f"other{number}/<int:order_id>", order) for number in range(routes - 1)),
        path("orders/<int:order_id>", order),
    ]
    django.setup()
    return get_wsgi_application()


def call(framework: str, app: Any, requests: int) -> None:
    """Calls the application so many times, as its server would, without a socket."""
    if framework == "fastapi":
        asyncio.run(_call_asgi(app, requests))
    else:
        _call_wsgi(app, requests)


async def _call_asgi(app: Any, requests: int) -> None:
    received = {"type": "http.request", "body": b"", "more_body": False}
    statuses = set()

    async def receive() -> dict[str, Any]:
        return received

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    for number in range(requests):
        path = f"/orders/{number % 1000}"
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"",
            "headers": list(_HEADER_LIST), "client": ("192.0.2.7", 50_000 + number % 100),
            "server": ("127.0.0.1", 8000), "state": {},
        }  # fmt: skip
        await app(scope, receive, send)
        if number % 50 == 0:
            await asyncio.sleep(0)  # a server's loop comes round too
    if statuses != {200}:
        raise SystemExit(f"requests ended with {statuses}")


def _call_wsgi(app: Any, requests: int) -> None:
    statuses = set()

    def start_response(status: str, _headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], None]:
        statuses.add(status)
        return lambda _data: None

    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in _HEADERS.items()}
    for number in range(requests):
        environ = {
            "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": f"/orders/{number % 1000}", "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": str(50_000 + number % 100), "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False, **headers,
        }  # fmt: skip
        body = app(environ, start_response)
        try:
            for _chunk in body:
                pass
        finally:
            if hasattr(body, "close"):
                body.close()
    if {status[:3] for status in statuses} != {"200"}:
        raise SystemExit(f"requests ended with {statuses}")
