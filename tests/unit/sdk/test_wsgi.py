from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from flask import Flask
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanKind, StatusCode

import watchkeeper as wk
from support.wsgi import call, environ_of
from watchkeeper import LogOptions, Options, TraceOptions
from watchkeeper.export.boundary import ERRORS
from watchkeeper.integrations.opening import middleware_inside
from watchkeeper.metrics.http import http_metrics
from watchkeeper.testing import Captured, FakeClock, SequentialIds, capture
from watchkeeper.tracing.api import provider

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TEXT = [("Content-Type", "text/plain")]
log = wk.get_logger("shop")


def serving(make: Callable[[dict[str, Any]], Any], status: str = "200 OK", headers: Any = TEXT) -> Any:
    """An instrumented application that answers with what `make` gives."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        body = make(environ)
        start_response(status, list(headers))
        return body

    return wk.instrument(app)


def hello(_environ: dict[str, Any]) -> list[bytes]:
    log.info("here")
    return [b"hello"]


def series(seen: Captured, name: str, **labels: str) -> float:
    return seen.metric(name, **labels) or 0


def in_progress() -> int:
    return len(http_metrics.active("GET"))


def test_a_request_is_one_span_with_the_stable_conventions(seen: Captured) -> None:
    def routed(environ: dict[str, Any]) -> list[bytes]:
        environ["watchkeeper.route"] = "/orders/{order_id}"
        return [b"ok"]

    response = call(serving(routed), "/orders/7?full=1", headers=[("user-agent", "curl/8")])
    assert (response.status, response.body) == (200, b"ok")
    (span,) = seen.spans
    assert (span.name, span.kind, span.status_code) == ("GET /orders/{order_id}", SpanKind.SERVER, StatusCode.UNSET)
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/orders/{order_id}",
        "http.response.status_code": 200,
        "url.path": "/orders/7",
        "url.query": "full=1",
        "url.scheme": "http",
        "server.address": "shop.example",
        "server.port": 8000,
        "client.address": "192.0.2.7",
        "client.port": 50_123,
        "network.protocol.version": "1.1",
        "user_agent.original": "curl/8",
    }


def test_a_path_is_what_the_client_sent_and_the_mount_is_part_of_it(seen: Captured) -> None:
    call(serving(hello), "/orders/caf\u00c3\u00a9", SCRIPT_NAME="/shop")
    assert seen.spans[0].attributes["url.path"] == "/shop/orders/café"


def test_log_lines_know_their_request_and_the_context_ends_with_it(seen: Captured) -> None:
    response = call(serving(hello))
    (record,), (span,) = seen.records, seen.spans
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert record.request_id == response.headers["x-request-id"]
    assert not trace.get_current_span().get_span_context().is_valid


def test_metrics_count_requests_with_their_sizes(seen: Captured) -> None:
    labels = {"method": "POST", "route": "/"}
    before = series(seen, "http_requests_total", status="201", **labels)
    sent = series(seen, "http_request_size_bytes_sum", **labels)
    answered = series(seen, "http_response_size_bytes_sum", **labels)
    app = serving(hello, "201 Created")
    call(app, method="POST", headers=[("content-length", "3")], **{"wsgi.input": io.BytesIO(b"abc")})
    assert series(seen, "http_requests_total", status="201", **labels) == before + 1
    assert series(seen, "http_request_size_bytes_sum", **labels) == sent + 3
    assert series(seen, "http_response_size_bytes_sum", **labels) == answered + 5
    assert series(seen, "http_requests_in_progress", method="POST") == 0


def test_a_length_that_no_body_has_spoils_no_metric(seen: Captured) -> None:
    labels = {"method": "PUT", "route": "/", "status": "201"}
    before = series(seen, "http_requests_total", **labels)
    app = serving(hello, "201 Created")
    assert call(app, method="PUT", headers=[("content-length", "9" * 400)]).status == 201
    assert series(seen, "http_requests_total", **labels) == before + 1


def test_a_chunked_request_body_is_counted_however_it_is_read(seen: Captured) -> None:
    def reading(environ: dict[str, Any]) -> list[bytes]:
        stream = environ["wsgi.input"]
        assert (stream.read(2), stream.readline()) == (b"a\n", b"b\n")
        assert (next(iter(stream)), stream.readlines()) == (b"c\n", [b"d\n", b"e"])
        return [b""]

    labels = {"method": "POST", "route": "/"}
    before = series(seen, "http_request_size_bytes_sum", **labels)
    body = io.BytesIO(b"a\nb\nc\nd\ne")
    call(serving(reading), method="POST", headers=[("transfer-encoding", "chunked")], **{"wsgi.input": body})
    assert series(seen, "http_request_size_bytes_sum", **labels) == before + 9


def test_a_generated_body_is_one_span_until_its_end_and_its_lines_are_the_requests(seen: Captured) -> None:
    def chunks() -> Iterator[bytes]:
        try:
            for number in range(3):
                log.info("chunk")
                assert in_progress() == 1
                yield b"%d" % number
        finally:
            log.info("closed")

    response = call(serving(lambda _environ: chunks()))
    (span,) = seen.spans
    assert (response.body, span.status_code) == (b"012", StatusCode.UNSET)
    assert [(r.message, r.trace_id) for r in seen.records] == [
        *[("chunk", span.trace_id)] * 3,
        ("closed", span.trace_id),
    ]
    assert in_progress() == 0


def test_between_two_parts_of_a_body_the_context_is_the_servers(seen: Captured) -> None:
    body = serving(lambda _environ: iter([b"1", b"2"]))(environ_of("/"), lambda *_: None)
    next(body)
    assert not trace.get_current_span().get_span_context().is_valid
    body.close()


def test_the_iterables_close_runs_in_the_request(seen: Captured) -> None:
    class Closing:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            log.info("closed")

    call(serving(lambda _environ: Closing()))
    assert seen.records[0].trace_id == seen.spans[0].trace_id


def test_a_generator_that_fails_half_way_fails_the_span(seen: Captured) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"1"
        raise ValueError("no")

    before = series(seen, "http_errors_total", method="GET", route="/", type="ValueError")
    response = call(serving(lambda _environ: chunks()))
    assert (type(response.error), response.body) == (ValueError, b"1")
    (span,) = seen.spans
    assert (span.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "ValueError")
    assert span.attributes["http.response.status_code"] == 200
    assert span.events[0].attributes["exception.message"] == "no"
    assert series(seen, "http_errors_total", method="GET", route="/", type="ValueError") == before + 1


def test_an_unhandled_error_fails_the_span_and_the_servers_line_knows_the_request(seen: Captured) -> None:
    def boom(_environ: dict[str, Any]) -> list[bytes]:
        raise ValueError("no")

    response = call(serving(boom), headers=[("x-request-id", "req-7")])
    assert isinstance(response.error, ValueError)
    log.error("Error handling request", exc_info=response.error)
    (span,), (record,) = seen.spans, seen.records
    assert (span.status_code, span.attributes["http.response.status_code"]) == (StatusCode.ERROR, 500)
    assert (record.trace_id, record.request_id) == (span.trace_id, "req-7")


def test_a_server_error_by_status_fails_the_span_and_a_client_error_does_not(seen: Captured) -> None:
    call(serving(hello, "503 Service Unavailable"))
    call(serving(hello, "410 Gone"))
    down, gone = seen.spans
    assert (down.status_code, down.attributes["error.type"]) == (StatusCode.ERROR, "503")
    assert (gone.status_code, "error.type" in gone.attributes) == (StatusCode.UNSET, False)


def test_a_second_start_with_exc_info_is_passed_on_and_counts(seen: Captured) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        try:
            raise KeyError("late")
        except KeyError as error:
            start_response("500 Oops", TEXT, (KeyError, error, error.__traceback__))
        return [b"sorry"]

    response = call(wk.instrument(app))
    assert [status for status, _ in response.starts] == ["200 OK", "500 Oops"]
    assert "x-request-id" in response.headers
    (span,) = seen.spans
    assert (span.attributes["http.response.status_code"], span.attributes["error.type"]) == (500, "KeyError")


def test_a_second_start_that_the_server_refuses_leaves_the_status_that_was_sent(seen: Captured) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        try:
            raise KeyError("late")
        except KeyError as error:
            start_response("500 Oops", TEXT, (KeyError, error, error.__traceback__))
        return []

    def refusing(_status: str, _headers: Any, exc_info: Any = None) -> Any:
        if exc_info:
            raise exc_info[1]

    with pytest.raises(KeyError):
        wk.instrument(app)(environ_of("/"), refusing)
    assert seen.spans[0].attributes["http.response.status_code"] == 200


def test_what_is_written_by_the_write_callable_is_sent_and_counted(seen: Captured) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"12")
        write(b"345")
        return [b"6"]

    labels = {"method": "GET", "route": "/"}
    before = series(seen, "http_response_size_bytes_sum", **labels)
    assert call(wk.instrument(app)).body == b"123456"
    assert series(seen, "http_response_size_bytes_sum", **labels) == before + 6


def test_a_client_that_leaves_is_no_error_of_ours(seen: Captured) -> None:
    app = serving(lambda _environ: iter([b"1", b"2", b"3"]))
    failures = series(seen, "http_errors_total", method="GET", route="/", type="client_disconnect")
    call(app, parts=1)
    (span,) = seen.spans
    assert (span.status_code, span.attributes["error.type"]) == (StatusCode.UNSET, "client_disconnect")
    assert series(seen, "http_errors_total", method="GET", route="/", type="client_disconnect") == failures
    assert in_progress() == 0


def test_a_server_that_stops_at_the_declared_length_has_it_all(seen: Captured) -> None:
    headers = [*TEXT, ("Content-Length", "2")]
    call(serving(lambda _environ: iter([b"1", b"2", b""]), headers=headers), parts=2)
    (span,) = seen.spans
    assert "error.type" not in span.attributes


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified")])
def test_a_server_that_skips_a_body_that_is_none_leaves_nobody_waiting(
    method: str, status: str, seen: Captured
) -> None:
    body = serving(lambda _environ: iter([b"1", b"2"]), status)(environ_of("/", method), lambda *_: None)
    body.close()
    assert "error.type" not in seen.spans[0].attributes


def test_a_body_that_is_neither_read_nor_closed_is_forgotten(seen: Captured) -> None:
    body = serving(lambda _environ: iter([b"1", b"2"]))(environ_of("/"), lambda *_: None)
    assert (in_progress(), next(body)) == (1, b"1")
    del body
    gc.collect()
    assert (in_progress(), seen.spans) == (0, [])


def test_a_request_keeps_nothing_alive_that_only_the_collector_would_free(seen: Captured) -> None:
    class Big(io.BytesIO):
        pass

    gc.collect()
    gc.disable()
    try:
        stream = Big()
        gone = weakref.ref(stream)
        environ = environ_of("/", **{"wsgi.input": stream})
        b"".join(serving(lambda _environ: iter([b"1"]))(environ, lambda *_: None))
        del stream, environ
        assert gone() is None
    finally:
        gc.enable()


def test_a_file_stays_a_file_wrapper_and_the_request_ends_when_it_is_closed(seen: Captured) -> None:
    file = io.BytesIO(b"content")
    environ = environ_of("/", **{"wsgi.file_wrapper": FileWrapper})
    app = serving(lambda environ: environ["wsgi.file_wrapper"](file), headers=[*TEXT, ("Content-Length", "7")])
    labels = {"method": "GET", "route": "/"}
    before = series(seen, "http_response_size_bytes_sum", **labels)
    result = app(environ, lambda *_: None)
    assert (type(result), seen.spans) == (FileWrapper, [])
    result.close()
    assert (file.closed, len(seen.spans)) == (True, 1)
    assert series(seen, "http_response_size_bytes_sum", **labels) == before + 7


def test_a_list_is_handed_on_as_it_is_so_that_servers_can_tell_its_length(seen: Captured) -> None:
    assert serving(hello)(environ_of("/"), lambda *_: None) == [b"hello"]
    assert len(seen.spans) == 1


def test_the_time_to_send_a_body_is_not_the_applications() -> None:
    time = FakeClock()
    with capture(clock=time.clock()) as seen:
        body = serving(lambda _environ: iter([b"1"]))(environ_of("/"), lambda *_: None)
        time.advance(2)
        list(body)
        time.advance(60)
        body.close()
    (span,) = seen.spans
    assert span.end_time - span.start_time == 2_000_000_000


@pytest.mark.parametrize(
    ("headers", "joined"),
    [
        ([("traceparent", f"00-{TRACE}-{PARENT}-01")], True),
        ([("traceparent", f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01")], False),  # two, as servers join them
        ([("traceparent", "garbage")], False),
    ],
)
def test_traceparent_is_read(headers: list[tuple[str, str]], joined: bool, seen: Captured) -> None:
    call(serving(hello), headers=[*headers, ("tracestate", "a=1,b=2")])
    (span,) = seen.spans
    assert ((span.trace_id == int(TRACE, 16)), span.parent_id != 0, span.trace_state_text != "") == (joined,) * 3


def test_other_propagators_read_their_own_headers() -> None:
    with capture(Options(logs=LogOptions(stream="off"), propagators=("b3",))) as seen:
        call(serving(hello), headers=[("b3", f"{TRACE}-{PARENT}-1"), ("traceparent", "garbage")])
    assert (seen.spans[0].trace_id, seen.spans[0].parent_id) == (int(TRACE, 16), int(PARENT, 16))


def test_baggage_reaches_the_application_and_ends_with_the_request(seen: Captured) -> None:
    found = []
    call(serving(lambda _environ: found.append(baggage.get_all()) or []), headers=[("baggage", "tenant=acme")])
    assert (found, baggage.get_all()) == ([{"tenant": "acme"}], {})


def test_an_applications_own_request_id_header_is_left_alone(seen: Captured) -> None:
    response = call(serving(hello, headers=[*TEXT, ("X-Request-Id", "mine")]))
    assert [value for name, value in response.starts[0][1] if name.lower() == "x-request-id"] == ["mine"]


def test_a_callers_ids_are_kept_returned_and_on_every_line(seen: Captured) -> None:
    response = call(serving(hello), headers=[("x-correlation-id", "work-7"), ("x-request-id", "r-7")])
    assert (response.headers["x-correlation-id"], response.headers["x-request-id"]) == ("work-7", "r-7")
    assert {(record.request_id, record.correlation_id) for record in seen.records} == {("r-7", "work-7")}
    begun = call(serving(hello)).headers
    assert begun["x-correlation-id"] == begun["x-request-id"]


@pytest.mark.parametrize(("bound", "returned"), [("import-7", True), ("a\r\nset-cookie: b", False), ("работа", False)])
def test_a_bound_correlation_id_is_returned_if_a_header_can_hold_it(bound: str, returned: bool, seen: Captured) -> None:
    def binding(environ: Any, start_response: Any) -> Any:
        wk.bind_context(correlation_id=bound)
        start_response("200 OK", list(TEXT))
        return hello(environ)

    headers = call(wk.instrument(binding)).headers
    assert headers["x-correlation-id"] == (bound if returned else headers["x-request-id"])


def test_a_list_of_headers_used_twice_gets_each_its_own_id(seen: Captured) -> None:
    shared = list(TEXT)

    def app(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", shared)
        return []

    app = wk.instrument(app)
    first, second = call(app), call(app)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert shared == TEXT


def test_metrics_are_served_and_leave_no_trace(seen: Captured) -> None:
    app = serving(hello)
    call(app)
    plain = call(app, "/metrics")
    opened = call(app, "/metrics", headers=[("accept", "application/openmetrics-text; version=1.0.0")])
    head = call(app, "/metrics", "HEAD")
    assert plain.headers["content-type"].startswith("text/plain")
    assert b'http_requests_total{method="GET",route="/",status="200"}' in plain.body
    assert opened.body.endswith(b"# EOF\n")
    assert (head.status, head.body) == (200, b"")
    assert call(app, "/metrics", "POST").body == b"hello"
    assert [span.name for span in seen.spans] == ["GET", "POST"]


def test_probes_and_excluded_urls_are_counted_and_not_traced() -> None:
    options = Options(
        traces=TraceOptions(excluded_urls=("shop.example:8000/api/orders",)), logs=LogOptions(stream="off")
    )
    labels = {"method": "GET", "status": "200"}
    routes = ("/healthz", "/orders/{id}", "/other")
    with capture(options) as seen:
        before = [series(seen, "http_requests_total", route=route, **labels) for route in routes]
        for path in ("/healthz", "/orders/7", "/other"):
            call(serving(hello), path, SCRIPT_NAME="/api")
        after = [series(seen, "http_requests_total", route=route, **labels) for route in routes]
    assert after == [count + 1 for count in before]
    assert [span.attributes["url.path"] for span in seen.spans] == ["/api/other"]


def test_an_instrumented_application_below_another_makes_no_second_span(seen: Captured) -> None:
    inner = serving(hello)

    def outer(environ: dict[str, Any], start_response: Any) -> Any:
        return inner(environ, start_response)

    call(wk.instrument(outer))
    assert len(seen.spans) == 1


def test_a_server_span_of_somebody_around_us_is_the_only_one(seen: Captured) -> None:
    with provider.get_tracer("somebody").start_as_current_span("around", kind=SpanKind.SERVER):
        response = call(serving(hello))
    assert [span.name for span in seen.spans] == ["around"]
    assert seen.records[0].trace_id == seen.spans[0].trace_id
    assert "x-request-id" in response.headers


def test_where_contribs_middleware_is_inside_it_makes_the_span(seen: Captured) -> None:
    class Contrib:
        def __init__(self, wsgi: Any) -> None:
            self.wsgi = wsgi

        def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
            with provider.get_tracer("contrib").start_as_current_span("theirs", kind=SpanKind.SERVER):
                return self.wsgi(environ, start_response)

    Contrib.__module__ = "opentelemetry.instrumentation.wsgi"  # which is how it is known
    bare = wk.uninstrument(serving(hello))
    response = call(wk.instrument(Contrib(bare)))
    assert [span.name for span in seen.spans] == ["theirs"]
    assert seen.records[0].trace_id == seen.spans[0].trace_id
    assert "x-request-id" in response.headers


def test_instrument_twice_is_once_and_uninstrument_undoes_it(seen: Captured) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", list(TEXT))
        return hello(environ)

    instrumented = wk.instrument(app)
    assert wk.instrument(instrumented) is instrumented
    assert wk.uninstrument(instrumented) is app
    assert "x-request-id" not in call(instrumented).headers
    assert seen.spans == []


def test_without_configure_an_instrumented_application_just_runs(seen: Captured) -> None:
    app = serving(hello)
    wk.shutdown()
    response = call(app)
    assert (response.status, "x-request-id" in response.headers) == (200, False)


def test_an_error_inside_the_sdk_is_counted_and_the_request_answered(seen: Captured, production: None) -> None:
    class Odd:
        @property
        def url_rule(self) -> Any:
            raise RuntimeError("whatever a framework leaves behind")

    before = ERRORS.labels("request")._value.get()
    assert call(serving(hello), **{"werkzeug.request": Odd()}).body == b"hello"
    assert ERRORS.labels("request")._value.get() == before + 2  # when the response starts, and at its end


def test_an_opening_that_fails_leaves_no_request_in_progress(production: None) -> None:
    class NoIds(SequentialIds):
        def span_id(self) -> int:
            raise RuntimeError("no entropy")

    with capture(ids=NoIds()) as seen:
        assert call(serving(hello)).body == b"hello"
        assert (in_progress(), seen.spans) == (0, [])


def test_what_has_any_attribute_is_not_searched_for_ever() -> None:
    class Anything:
        def __getattr__(self, _name: str) -> Any:
            return Anything()

    assert not middleware_inside(Anything(), frozenset({"somewhere"}), "app")


def _factory(config: Any = None, testing: bool = False) -> Any: ...


@pytest.mark.parametrize("thing", ["shop:app", 7, wk, _factory, Flask, lambda _scope: None, [].append])
def test_what_is_neither_asgi_nor_wsgi_is_refused_with_a_reason(thing: Any, seen: Captured) -> None:
    with pytest.raises(TypeError, match=r"ASGI application .* or a WSGI application .* is neither"):
        wk.instrument(thing)


@pytest.mark.parametrize("name", ["WSGI", "FLASK", "DJANGO"])
def test_opentelemetrys_variables_exclude_urls(name: str) -> None:
    options = Options.from_environment({f"OTEL_PYTHON_{name}_EXCLUDED_URLS": "orders,carts"})
    assert options.traces.excluded_urls == ("orders", "carts")
