from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import flask
import pytest
from flask import Blueprint, Flask
from opentelemetry.trace import SpanKind, StatusCode
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client

import watchkeeper as wk
from watchkeeper.testing import Captured
from watchkeeper.tracing.api import provider

log = wk.get_logger("shop")


@pytest.fixture
def app() -> Flask:  # noqa: C901  # one endpoint a behaviour
    app = Flask("shop")
    orders = Blueprint("orders", __name__, url_prefix="/orders")

    @orders.get("/<int:order_id>/<any(items, notes):part>")
    def order(order_id: int, part: str) -> dict[str, Any]:
        log.info("shown", part=part)
        return {"order_id": order_id}

    @app.post("/orders")
    def create() -> tuple[str, int]:
        return flask.request.get_data(as_text=True), 201

    @app.get("/boom")
    def boom() -> str:
        raise ValueError("no")

    @app.get("/declined")
    def declined() -> str:
        raise PermissionError("no")

    @app.errorhandler(PermissionError)
    def _forbidden(_error: PermissionError) -> tuple[str, int]:
        return "forbidden", 403

    @app.get("/gone")
    def gone() -> None:
        flask.abort(410)

    @app.get("/stream")
    def stream() -> Any:
        def chunks() -> Iterator[str]:
            for number in range(3):
                log.info("chunk")
                yield str(number)

        return flask.Response(flask.stream_with_context(chunks()))

    @app.get("/file")
    def file() -> Any:
        return flask.send_file(io.BytesIO(b"content"), mimetype="text/plain")

    @app.get("/async/<name>")
    def spread(name: str) -> str:
        with ThreadPoolExecutor() as pool:
            pool.submit(flask.copy_current_request_context(lambda: log.info("aside"))).result()
        return name

    app.register_blueprint(orders, url_prefix="/v1/orders")
    return wk.instrument(app)


def test_flask_is_instrumented_in_place_and_a_blueprints_route_is_one_template(app: Flask, seen: Captured) -> None:
    response = app.test_client().get("/v1/orders/7/items")
    assert response.json == {"order_id": 7}
    span = seen.span("GET /v1/orders/{order_id}/{part}")
    assert span.attributes["http.route"] == "/v1/orders/{order_id}/{part}"
    assert seen.records[0].trace_id == span.trace_id
    assert seen.records[0].request_id == response.headers["X-Request-ID"]


def test_a_request_is_complete_when_its_client_has_it_read_or_not(app: Flask, seen: Captured) -> None:
    app.test_client().post("/orders", data=b"abc")
    assert seen.span("POST /orders").attributes["http.response.status_code"] == 201


@pytest.mark.parametrize("path", ["/nowhere", "/v1/orders/seven/items"])
def test_what_no_route_takes_is_unmatched(path: str, app: Flask, seen: Captured) -> None:
    assert app.test_client().get(path).status_code == 404
    (span,) = seen.spans
    assert (span.name, "http.route" in span.attributes) == ("GET", False)


def test_an_unhandled_exception_is_the_spans_though_flask_answers_it(app: Flask, seen: Captured) -> None:
    before = seen.metric("http_errors_total", method="GET", route="/boom", type="ValueError") or 0
    response = app.test_client().get("/boom", headers={"X-Request-ID": "req-7"})
    assert (response.status_code, response.headers["X-Request-ID"]) == (500, "req-7")
    span = seen.span("GET /boom")
    assert (span.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "ValueError")
    assert span.events[0].attributes["exception.message"] == "no"
    assert seen.metric("http_errors_total", method="GET", route="/boom", type="ValueError") == before + 1
    line = next(record for record in seen.records if record.failure is not None)  # Flask's own
    assert (line.trace_id, line.request_id) == (span.trace_id, "req-7")


def test_an_exception_that_flask_lets_out_knows_its_route(app: Flask, seen: Captured) -> None:
    app.testing = True
    with pytest.raises(ValueError, match="no"):
        app.test_client().get("/boom")
    span = seen.span("GET /boom")
    assert (span.attributes["http.response.status_code"], len(span.events)) == (500, 1)


def test_what_an_error_handler_answers_is_no_failure(app: Flask, seen: Captured) -> None:
    app.test_client().get("/declined")
    app.test_client().get("/gone")
    assert [(span.name, span.status_code) for span in seen.spans] == [
        ("GET /declined", StatusCode.UNSET),
        ("GET /gone", StatusCode.UNSET),
    ]


def test_an_error_page_of_the_applications_own_keeps_the_exception(app: Flask, seen: Captured) -> None:
    app.register_error_handler(500, lambda _error: ("sorry", 500))
    assert app.test_client().get("/boom").data == b"sorry"
    assert seen.span("GET /boom").attributes["error.type"] == "ValueError"


@pytest.mark.parametrize("handled", [Exception, LookupError, 500, "a blueprint's"])
def test_what_an_error_handler_answers_with_a_500_is_a_failure_with_its_stack(
    handled: Any, app: Flask, seen: Captured
) -> None:
    parts = Blueprint("parts", __name__)

    @parts.get("/parts")
    def show() -> str:
        raise KeyError("no such part")

    where = parts.errorhandler(Exception) if isinstance(handled, str) else app.errorhandler(handled)
    where(lambda _error: ({"error": "sorry"}, 500))
    app.register_blueprint(parts)
    assert app.test_client().get("/parts").json == {"error": "sorry"}
    span = seen.span("GET /parts")
    assert (span.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "KeyError")
    (error,) = seen.errors
    assert (error.type, error.handled, error.trace_id) == ("KeyError", False, span.trace_id)
    assert error.exceptions[0].frames[-1].function.endswith("show")


def test_an_abort_that_an_error_handler_answers_is_no_error(app: Flask, seen: Captured) -> None:
    app.register_error_handler(503, lambda error: ({"error": str(error)}, 503))
    app.add_url_rule("/busy", view_func=lambda: flask.abort(503))
    assert app.test_client().get("/busy").status_code == 503
    assert (seen.span("GET /busy").attributes["error.type"], seen.errors) == ("503", [])


@pytest.mark.parametrize("later", [False, True])
def test_uninstrument_leaves_the_handling_of_errors_as_it_was(later: bool, seen: Captured) -> None:
    app = Flask("shop")
    before = dict(vars(app))
    app.add_url_rule("/lost", view_func=lambda: {}["lost"])
    app.register_error_handler(Exception, lambda _error: ("sorry", 500))
    wk.instrument(app)
    if later:  # as flask-restx does
        app.handle_user_exception = partial(app.handle_user_exception)  # type: ignore[method-assign]
    wk.uninstrument(app)
    assert ("handle_user_exception" in vars(app)) is later
    assert set(vars(app)) - {"handle_user_exception"} == set(before)
    assert app.test_client().get("/lost").data == b"sorry"
    assert (seen.spans, seen.errors) == ([], [])


def test_streams_files_and_threads_belong_to_their_request(app: Flask, seen: Captured) -> None:
    client = app.test_client()
    assert client.get("/stream").data == b"012"
    assert client.get("/file").data == b"content"
    assert client.get("/async/x").data == b"x"
    stream, file, spread = seen.spans
    assert [span.name for span in (stream, file, spread)] == ["GET /stream", "GET /file", "GET /async/{name}"]
    assert [record.trace_id for record in seen.records[:3]] == [stream.trace_id] * 3
    assert {span.status_code for span in seen.spans} == {StatusCode.UNSET}


def test_a_mounted_flask_keeps_its_mount_in_the_template(app: Flask, seen: Captured) -> None:
    wk.uninstrument(app)
    outer = wk.instrument(DispatcherMiddleware(Flask("outer"), {"/shop": app}))
    assert Client(outer).get("/shop/v1/orders/7/notes").status_code == 200
    assert [span.name for span in seen.spans] == ["GET /shop/v1/orders/{order_id}/{part}"]


def test_a_middleware_put_around_later_stays_and_uninstrument_leaves_it_there(app: Flask, seen: Captured) -> None:
    app.wsgi_app = around = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    app.test_client().get("/gone")
    wk.uninstrument(app)
    response = app.test_client().get("/gone")
    assert (app.wsgi_app, len(seen.spans), "X-Request-ID" in response.headers) == (around, 1, False)


def test_where_contrib_has_instrumented_the_application_it_makes_the_span(app: Flask, seen: Captured) -> None:
    tracer = provider.get_tracer("contrib")

    @app.before_request
    def _theirs() -> None:
        flask.g.span = tracer.start_span("theirs", kind=SpanKind.SERVER)

    @app.teardown_request
    def _ended(_error: BaseException | None) -> None:
        flask.g.span.end()

    app._is_instrumented_by_opentelemetry = True  # type: ignore[attr-defined]  # which is how it is known
    assert "X-Request-ID" in app.test_client().get("/v1/orders/7/items").headers
    assert [span.name for span in seen.spans] == ["theirs"]


def test_uninstrument_leaves_the_application_as_it_was(seen: Captured) -> None:
    app = Flask("bare")
    before = dict(vars(app))
    receivers = len(flask.got_request_exception.receivers)
    assert wk.instrument(wk.instrument(app)) is app
    app.test_client().get("/")
    assert wk.uninstrument(app) is app
    app.test_client().get("/")
    assert len(seen.spans) == 1
    assert {key: value for key, value in vars(app).items() if key != "_got_first_request"} == {
        key: value for key, value in before.items() if key != "_got_first_request"
    }
    assert len(flask.got_request_exception.receivers) == receivers


def test_metrics_are_served_beside_the_applications_routes(app: Flask, seen: Captured) -> None:
    client = app.test_client()
    client.get("/v1/orders/7/items")
    assert (
        b'http_requests_total{method="GET",route="/v1/orders/{order_id}/{part}",status="200"}'
        in client.get("/metrics").data
    )
