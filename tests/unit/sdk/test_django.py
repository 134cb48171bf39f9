"""Django, really: one configuration a process, whose urlconf is this module's `urlpatterns`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import httpx
import pytest
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.signals import got_request_exception
from opentelemetry.trace import StatusCode

import watchkeeper as wk
from support.sdk import request
from support.wsgi import Response, call
from watchkeeper.export.boundary import boundary
from watchkeeper.testing import Captured

settings.configure(
    ALLOWED_HOSTS=["*"],
    LANGUAGES=[("en", "English"), ("de", "Deutsch")],
    MIDDLEWARE=["django.middleware.locale.LocaleMiddleware", "django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="x",
    USE_I18N=True,
    LOGGING_CONFIG=None,
)
django.setup()

from django.conf.urls.i18n import i18n_patterns  # noqa: E402  # these need the settings
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import FileResponse, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.test.utils import override_settings  # noqa: E402
from django.urls import include, path, re_path  # noqa: E402
from django.urls.base import clear_script_prefix  # noqa: E402

log = wk.get_logger("shop")


def order(_request: Any, order_id: Any, tenant: str = "") -> HttpResponse:
    log.info("shown", order_id=order_id, tenant=tenant)
    return HttpResponse(f"order {order_id}")


async def order_async(_request: Any, order_id: Any) -> HttpResponse:
    await asyncio.sleep(0)
    log.info("shown", order_id=order_id)
    return HttpResponse(f"order {order_id}")


def boom(_request: Any) -> HttpResponse:
    raise ValueError("no")


def lost(_request: Any) -> HttpResponse:
    raise LookupError("nowhere")


def stream(_request: Any) -> StreamingHttpResponse:
    def chunks() -> Iterator[bytes]:
        for number in range(3):
            log.info("chunk")
            yield b"%d" % number

    return StreamingHttpResponse(chunks())


def file(_request: Any) -> FileResponse:
    return FileResponse(Path(__file__).open("rb"))


urlpatterns = [
    path("", lambda _request: HttpResponse("home")),
    path("orders/<int:order_id>/", order),
    path("async/<int:order_id>/", order_async),
    path("boom/", boom),
    path("lost/", lost),
    path("stream/", stream),
    path("file/", file),
    path("api/<slug:tenant>/", include([re_path(r"^orders/(?P<order_id>\d{1,4})\.json$", order)])),
    *i18n_patterns(path("about/<page>", lambda _request, page: HttpResponse(page))),
]


@pytest.fixture(params=["wsgi", "asgi"])
def ask(request: pytest.FixtureRequest, seen: Captured) -> Iterator[Any]:
    """One request to an instrumented Django, by either protocol; both are to say the same."""
    app = wk.instrument({"wsgi": get_wsgi_application, "asgi": get_asgi_application}[request.param]())
    yield (lambda *args, **kwargs: call(app, *args, **kwargs)) if request.param == "wsgi" else _asking(app)
    wk.uninstrument(app)
    clear_script_prefix()


def _asking(app: Any) -> Any:
    async def ask(url: str, headers: Any = ()) -> Response:
        # httpx's client is one that stays: Django stops as soon as it hears that its client has left.
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            answer = await client.get(url, headers=list(headers))
        return Response(answer.status_code, dict(answer.headers), answer.content)

    return lambda *args, **kwargs: asyncio.run(ask(*args, **kwargs))


@pytest.mark.parametrize(
    ("url", "template"),
    [
        ("/", "/"),
        ("/orders/7/", "/orders/{order_id}/"),
        ("/async/7/", "/async/{order_id}/"),
        ("/api/acme/orders/7.json", "/api/{tenant}/orders/{order_id}.json"),
        ("/de/about/us", "/de/about/{page}"),
    ],
)
def test_a_request_is_one_span_of_its_template(url: str, template: str, ask: Any, seen: Captured) -> None:
    response = ask(url)
    assert response.status == 200
    span = seen.span(f"GET {template}")
    assert span.attributes["http.route"] == template
    assert {record.trace_id for record in seen.records if record.logger == "shop"} <= {span.trace_id}
    assert "x-request-id" in response.headers


@pytest.mark.parametrize("url", ["/nowhere", "/orders/7"])  # the second is redirected by a middleware
def test_what_no_route_takes_is_unmatched(url: str, ask: Any, seen: Captured) -> None:
    ask(url)
    (span,) = seen.spans
    assert (span.name, "http.route" in span.attributes) == ("GET", False)


def test_an_unhandled_exception_is_the_spans_though_django_answers_it(ask: Any, seen: Captured) -> None:
    before = seen.metric("http_errors_total", method="GET", route="/boom/", type="ValueError") or 0
    response = ask("/boom/", headers=[("x-request-id", "req-7")])
    assert (response.status, response.headers["x-request-id"]) == (500, "req-7")
    span = seen.span("GET /boom/")
    assert (span.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "ValueError")
    assert span.events[0].attributes["exception.message"] == "no"
    assert seen.metric("http_errors_total", method="GET", route="/boom/", type="ValueError") == before + 1


class Apologizing:
    """A middleware that answers for whatever a view raises."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, asked: Any) -> Any:
        return self.get_response(asked)

    def process_exception(self, _asked: Any, error: Exception) -> HttpResponse:
        return HttpResponse("sorry", status=400 if isinstance(error, LookupError) else 502)


def own_page(_request: Any) -> HttpResponse:
    return HttpResponse("an own page", status=500)


handler500 = own_page


@pytest.mark.parametrize(
    ("middleware", "answer"), [([f"{__name__}.Apologizing"], (502, b"sorry")), ([], (500, b"an own page"))]
)
@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_what_the_application_answers_an_exception_with_is_a_failure_with_its_stack(
    kind: str, middleware: list[str], answer: tuple[int, bytes], seen: Captured
) -> None:
    with override_settings(MIDDLEWARE=middleware):
        app = wk.instrument({"wsgi": get_wsgi_application, "asgi": get_asgi_application}[kind]())
    response = call(app, "/boom/") if kind == "wsgi" else _asking(app)("/boom/")
    assert (response.status, response.body) == answer
    span = seen.span("GET /boom/")
    assert (span.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "ValueError")
    (error,) = seen.errors
    assert (error.type, error.handled, error.trace_id) == ("ValueError", False, span.trace_id)
    assert error.exceptions[0].frames[-1].function.endswith("boom")
    call(app, "/lost/") if kind == "wsgi" else _asking(app)("/lost/")
    assert len(seen.errors) == (1 if middleware else 2)  # a 400 is no failure
    wk.uninstrument(app)


async def test_a_client_that_leaves_django_is_no_error_of_ours(seen: Captured) -> None:
    app = wk.instrument(get_asgi_application())
    response = await request(app, "/async/7/")  # this client has left by the time its request is read
    assert response.messages == []
    (span,) = seen.spans
    assert (span.status_code, span.attributes["error.type"]) == (StatusCode.UNSET, "client_disconnect")
    assert span.attributes["http.response.status_code"] == 499
    wk.uninstrument(app)


def test_a_stream_is_one_request_until_its_end(seen: Captured) -> None:
    app = wk.instrument(get_wsgi_application())
    assert call(app, "/stream/").body == b"012"
    assert [record.trace_id for record in seen.records] == [seen.span("GET /stream/").trace_id] * 3
    wk.uninstrument(app)


def test_a_file_is_one_request(seen: Captured) -> None:
    app = wk.instrument(get_wsgi_application())
    assert call(app, "/file/").body.startswith(b'"""Django, really')
    assert seen.span("GET /file/").status_code is StatusCode.UNSET
    wk.uninstrument(app)


@pytest.mark.parametrize("application", [get_wsgi_application, get_asgi_application])
def test_where_contribs_middleware_is_in_the_settings_it_makes_the_span(application: Any, seen: Captured) -> None:
    handler = application()
    contrib = "opentelemetry.instrumentation.django.middleware.otel_middleware._DjangoMiddleware"
    with override_settings(MIDDLEWARE=[contrib]):
        app = wk.instrument(handler)
    response = call(app, "/orders/7/") if application is get_wsgi_application else _asking(app)("/orders/7/")
    assert "x-request-id" in response.headers
    assert seen.spans == []  # contrib's own, which is not installed here, would be the one
    wk.uninstrument(app)


def test_a_handler_below_other_middlewares_is_found(seen: Captured) -> None:
    class Around:
        def __init__(self, application: Any) -> None:
            self.application = application

        def __call__(self, environ: Any, start_response: Any) -> Any:
            return self.application(environ, start_response)

    app = wk.instrument(Around(get_wsgi_application()))
    call(app, "/orders/7/")
    assert seen.span("GET /orders/{order_id}/")
    wk.uninstrument(app)


def test_uninstrument_leaves_the_handler_as_it_was(seen: Captured) -> None:
    handler = get_wsgi_application()
    before, receivers = dict(vars(handler)), len(got_request_exception.receivers)
    app = wk.instrument(handler)
    assert wk.instrument(app) is app
    assert len(got_request_exception.receivers) == receivers + 1
    assert wk.uninstrument(app) is handler
    assert (vars(handler), len(got_request_exception.receivers)) == (before, receivers)
    call(handler, "/orders/7/")
    assert seen.spans == []


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_that_nobody_serves_what_instrument_gave_back_is_said_once(
    kind: str, seen: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boundary, "_said", set())
    handler = {"wsgi": get_wsgi_application, "asgi": get_asgi_application}[kind]()
    app = wk.instrument(handler)
    ask = (lambda app: call(app, "/orders/7/")) if kind == "wsgi" else (lambda app: _asking(app)("/orders/7/"))
    ask(app)
    assert [message for message in seen.messages() if "past wk.instrument" in message] == []
    ask(handler)
    ask(handler)
    (said,) = [message for message in seen.messages() if "past wk.instrument" in message]
    assert "application = wk.instrument(" in said
    wk.uninstrument(app)


def test_health_is_told_beside_django_and_yields_to_its_routes(ask: Any) -> None:
    own = path("health/ready/", lambda _request: HttpResponse("django's own"))
    catching_all = path("<path:path>", lambda _request, **_: HttpResponse("a fallback"))
    with override_settings(ROOT_URLCONF=(own, catching_all)):
        assert ask("/health/live").headers["content-type"] == "application/health+json"
        assert ask("/health/ready/").body == b"django's own"
        assert ask("/health/ready").body == b"a fallback"  # as Django has it: its own route wants the slash
        assert ask("/health/liv").body == b"a fallback"
