"""Errors from being caught to being handed on, inside one process."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import django.urls
import flask
import pytest
import structlog
import uvloop
from fastapi import BackgroundTasks, FastAPI, HTTPException
from starlette.requests import ClientDisconnect

import watchkeeper as wk
from support.sdk import dropped, request
from watchkeeper.errors.collector import MARK
from watchkeeper.errors.stats import tally
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.calls import DATABASE, Call
from watchkeeper.testing import Captured, FakeClock, capture

QUIET = wk.LogOptions(stream="off")


@contextmanager
def capturing(**options: Any) -> Iterator[Captured]:
    with capture(wk.Options(logs=QUIET, errors=wk.ErrorOptions(**options))) as seen:
        yield seen


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001  # that is what is wanted
        return caught


# By hand


def test_a_captured_exception_is_an_event_with_its_stack(seen: Captured) -> None:
    def settle() -> None:
        raise ValueError("no funds")

    try:
        settle()
    except ValueError as error:
        event_id = wk.capture_exception(error, tags={"step": "pay"}, order_id=7)
    (event,) = seen.errors
    assert event.event_id == event_id
    assert (event.type, event.message, event.severity, event.handled) == ("ValueError", "no funds", "error", True)
    assert (event.mechanism, event.tags, event.extra) == ("capture", {"step": "pay"}, {"order_id": 7})
    last = event.exceptions[0].frames[-1]
    assert last.function.endswith("settle")
    assert last.path == __file__
    assert last.in_app


def test_without_an_argument_the_exception_being_handled_is_captured(seen: Captured) -> None:
    try:
        raise KeyError("sku")
    except KeyError:
        wk.capture_exception()
    assert [event.title for event in seen.errors] == ["KeyError: sku"]
    assert wk.capture_exception() == ""
    assert len(seen.errors) == 1


def test_a_message_is_an_event_without_exception(seen: Captured) -> None:
    wk.capture_message("stock is negative", severity="warning", sku="tea")
    (event,) = seen.errors
    assert (event.message, event.severity, event.exceptions, event.extra) == (
        "stock is negative",
        "warning",
        (),
        {"sku": "tea"},
    )


def test_nothing_is_captured_before_configure_and_after_shutdown() -> None:
    assert wk.capture_exception(ValueError()) == ""
    with capturing() as seen:
        pass
    assert wk.capture_exception(ValueError()) == wk.capture_message("x") == ""
    assert seen.errors == []


def test_nothing_is_captured_where_errors_are_switched_off() -> None:
    before = sys.excepthook
    with capturing(enabled=False) as seen:
        assert sys.excepthook is before
        wk.get_logger("x").error("failed", exc_info=ValueError())
        assert wk.capture_exception(ValueError()) == ""
    assert seen.errors == []


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(1),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        BaseExceptionGroup("all", [SystemExit()]),
    ],
)
def test_being_asked_to_end_is_no_error(seen: Captured, error: BaseException) -> None:
    assert wk.capture_exception(error) == ""
    wk.get_logger("x").error("ending", exc_info=error)
    assert seen.errors == []


def test_what_an_event_carries_comes_from_the_context() -> None:
    service = wk.ServiceOptions("shop", "1.2.0", "production")
    with capture(wk.Options(service=service, logs=QUIET)) as seen:
        bound = wk.bound_context(user_id="u-7", tenant_id="acme", plan="gold")
        with wk.span("charge"), bound:
            wk.capture_exception(raised(ValueError()))
    span = seen.span("charge")
    (event,) = seen.errors
    assert (event.trace_id, event.span_id) == (span.trace_id, span.span_id)
    assert (event.user, event.tags, event.extra) == ({"id": "u-7"}, {"tenant_id": "acme"}, {"plan": "gold"})
    assert (event.release, event.environment) == ("1.2.0", "production")


def test_every_error_is_counted_by_category_and_severity(seen: Captured) -> None:
    labels = {"category": "network", "severity": "warning"}
    before = seen.metric("errors_total", **labels) or 0
    stats = wk.error_stats()
    for _ in range(3):
        wk.capture_exception(ConnectionResetError(), severity="warning")
    after = wk.error_stats()
    assert seen.metric("errors_total", **labels) == before + 3
    assert after.total == stats.total + 3
    assert after.by_category["network"] == stats.by_category.get("network", 0) + 3
    assert after.by_severity["warning"] == stats.by_severity.get("warning", 0) + 3
    assert after.by_fingerprint[seen.errors[-1].fingerprint].title == "ConnectionResetError"
    assert after.per_minute >= 3


# The log


@pytest.mark.parametrize(
    "say",
    [
        lambda: wk.get_logger("shop").exception("charging failed"),
        lambda: logging.getLogger("shop").exception("charging failed"),  # noqa: LOG004  # likewise
        lambda: logging.getLogger("shop").error("charging failed", exc_info=True),  # noqa: LOG014  # it is called in a handler
        lambda: structlog.get_logger("shop").exception("charging failed"),
    ],
)
def test_an_exception_that_is_logged_as_an_error_is_an_event(seen: Captured, say: Callable[[], None]) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        say()
    (event,) = seen.errors
    assert (event.type, event.message, event.mechanism) == ("ValueError", "charging failed", "log")
    (record,) = seen.records
    assert record.failure is not None
    assert (record.failure.event_id, record.failure.fingerprint) == (event.event_id, event.fingerprint)


def test_a_warning_with_an_exception_is_none(seen: Captured) -> None:
    wk.get_logger("x").warning("again", exc_info=ValueError())
    wk.get_logger("x").error("without exception")
    assert seen.errors == []


def test_a_critical_line_makes_a_critical_event(seen: Captured) -> None:
    wk.get_logger("x").critical("going down", exc_info=ValueError())
    assert [event.severity for event in seen.errors] == ["critical"]


def test_one_exception_caught_in_many_places_is_one_event(seen: Captured) -> None:
    before = wk.error_stats().total
    error = raised(ValueError("no"))
    first = wk.capture_exception(error)
    wk.get_logger("x").error("failed", exc_info=error)
    assert wk.capture_exception(error) == first
    assert len(seen.errors) == 1
    assert wk.error_stats().total == before + 1
    failure = seen.records[0].failure
    assert failure is not None
    assert failure.event_id == first


def test_an_exception_that_a_library_raises_again_later_is_a_new_error() -> None:
    clock = FakeClock()
    with capture(wk.Options(logs=QUIET), clock=clock.clock()) as seen:
        error = raised(ValueError("no"))
        wk.capture_exception(error)
        clock.advance(301)
        wk.capture_exception(error)
    assert len(seen.errors) == 2


@pytest.mark.parametrize(
    ("said", "severity"), [("fatal", "critical"), ("warn", "warning"), ("debug", "info"), ("odd", "error")]
)
def test_other_names_of_severities_are_understood(seen: Captured, said: Any, severity: str) -> None:
    wk.capture_message("x", severity=said)
    assert [event.severity for event in seen.errors] == [severity]


def test_a_severity_is_a_level_too(seen: Captured) -> None:
    wk.capture_message("one", "fatal")
    wk.capture_message("two", level="warning")
    wk.capture_message("three")
    wk.capture_message("four", severity=logging.ERROR)  # type: ignore[arg-type]
    wk.capture_exception(raised(ValueError("five")), level="info")
    wk.capture_exception(raised(KeyError("six")))
    assert [event.severity for event in seen.errors] == ["critical", "warning", "info", "error", "info", "error"]
    assert [event.extra for event in seen.errors if "level" in event.extra] == []


def test_a_severity_that_there_is_not_is_said_once(
    seen: Captured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(boundary, "_said", set())
    for odd in ("bogus", "bogus", ["error"]):
        wk.capture_message("x", severity=odd)  # type: ignore[arg-type]
    told = [record.getMessage() for record in caplog.records if "no severity" in record.getMessage()]
    assert told == ["'bogus' is no severity: use critical, error, warning, info; it is told as error"]
    assert {event.severity for event in seen.errors} == {"error"}


def test_a_fingerprint_may_have_parts(seen: Captured) -> None:
    wk.capture_message("one", fingerprint=["payment", "declined"])
    wk.capture_message("two", fingerprint="payment declined")
    assert len(seen.errors) == 1


@pytest.mark.parametrize(
    ("argument", "types"),
    [((ValueError, ValueError("no"), None), ["ValueError"]), ((None, None, None), []), ("no exception", []), (7, [])],
)
def test_what_is_no_exception_harms_nobody(seen: Captured, argument: Any, types: list[str]) -> None:
    wk.capture_exception(argument)
    assert [event.type for event in seen.errors] == types


# Requests


async def test_an_unhandled_exception_of_a_request_is_one_event_that_tells_of_the_request(seen: Captured) -> None:
    app = FastAPI()

    @app.get("/orders/{order_id}")
    async def order(order_id: int) -> None:
        wk.bind_context(user_id="u-7")
        wk.get_logger("shop").info("looking", order_id=order_id)
        try:
            raise LookupError("gone")
        except LookupError:
            wk.get_logger("shop").exception("lookup failed")
            raise

    wk.instrument(app)
    headers = [("authorization", "Bearer abc"), ("cookie", "a=b"), ("x-forwarded-for", "192.0.2.7"), ("accept", "*/*")]
    response = await request(app, "/orders/7?token=abc&page=2", headers=headers)
    assert isinstance(response.error, LookupError)
    (event,) = seen.errors
    facts = event.request
    assert facts is not None
    assert (facts.method, facts.route, facts.url) == (
        "GET",
        "/orders/{order_id}",
        "http://shop.example:8000/orders/7",
    )
    assert facts.query == "token=[redacted]&page=2"
    assert facts.headers == {"host": "shop.example:8000", "authorization": "[redacted]", "accept": "*/*"}
    assert facts.client == ""
    assert event.user == {"id": "u-7"}
    span = seen.span("GET /orders/{order_id}")
    assert (event.trace_id, event.span_id) == (span.trace_id, span.span_id)
    assert event.request_id
    assert event.request_id == event.correlation_id == response.headers.get("x-request-id", event.request_id)
    assert [(crumb.category, crumb.message) for crumb in event.breadcrumbs] == [("log.shop", "looking")]


async def test_an_exception_that_nobody_logs_is_an_unhandled_event(seen: Captured) -> None:
    app = FastAPI()

    @app.get("/boom")
    async def boom() -> None:
        raise ZeroDivisionError("by zero")

    wk.instrument(app)
    await request(app, "/boom")
    (event,) = seen.errors
    assert (event.mechanism, event.handled, event.type) == ("request", False, "ZeroDivisionError")


async def test_personal_data_is_told_only_where_it_is_asked_for() -> None:
    app = FastAPI()

    @app.get("/boom")
    async def boom() -> None:
        raise ValueError

    with capturing(send_default_pii=True) as seen:
        wk.instrument(app)
        await request(app, "/boom", headers=[("x-forwarded-for", "198.51.100.1"), ("cookie", "a=b")])
    facts = seen.errors[0].request
    assert facts is not None
    assert facts.client == "192.0.2.7"
    assert facts.headers["x-forwarded-for"] == "198.51.100.1"
    assert facts.headers["cookie"] == "[redacted]"
    assert seen.errors[0].user == {"ip_address": "192.0.2.7"}


async def test_answers_and_cancellations_are_no_errors(seen: Captured) -> None:
    app = FastAPI()

    @app.get("/missing")
    async def missing() -> None:
        raise HTTPException(404)

    @app.get("/refused")
    async def refused() -> None:
        raise HTTPException(503)

    @app.get("/cancelled")
    async def cancelled() -> None:
        raise asyncio.CancelledError

    wk.instrument(app)
    for path in ("/missing", "/refused", "/cancelled", "/nowhere"):
        await request(app, path)
    assert seen.errors == []


async def test_a_client_that_leaves_is_nobodys_failure(seen: Captured) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ClientDisconnect

    response = await request(wk.instrument(app), "/")
    assert isinstance(response.error, ClientDisconnect)
    assert seen.errors == []


async def test_a_background_task_that_fails_is_an_event_of_its_request(seen: Captured) -> None:
    app = FastAPI()

    def mail() -> None:
        raise OSError("no mail")

    @app.get("/")
    async def root(tasks: BackgroundTasks) -> str:
        tasks.add_task(mail)
        return "ok"

    wk.instrument(app)
    response = await request(app, "/")
    assert response.status == 200
    wk.get_logger("server").error("in a task", exc_info=response.error)  # servers do
    (event,) = seen.errors
    assert event.mechanism == "request"
    assert event.request is not None
    assert event.request.route == "/"


def test_a_flask_view_that_fails_is_one_event(seen: Captured) -> None:
    app = flask.Flask("shop")

    @app.get("/orders/<int:order_id>")
    def order(order_id: int) -> str:
        raise ValueError(f"no order {order_id}")

    @app.get("/refused")
    def refused() -> str:
        flask.abort(503)

    wk.instrument(app)
    client = app.test_client()
    assert client.get("/orders/7").status_code == 500
    assert client.get("/refused").status_code == 503
    wk.uninstrument(app)
    (event,) = seen.errors
    assert event.request is not None
    assert (event.type, event.request.route) == ("ValueError", "/orders/{order_id}")


def test_a_django_view_that_fails_is_one_event(seen: Captured) -> None:
    from django.conf import settings  # noqa: PLC0415  # configured below, if no other test has

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x", DEFAULT_CHARSET="utf-8")
        django.setup()
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415
    from django.test import RequestFactory, override_settings  # noqa: PLC0415

    with override_settings(ROOT_URLCONF=DjangoUrls, ALLOWED_HOSTS=["*"], DEBUG_PROPAGATE_EXCEPTIONS=False):
        app = wk.instrument(WSGIHandler())
        environ = RequestFactory().get("/orders/7/").environ
        environ["wsgi.errors"] = sys.stderr
        statuses: list[str] = []
        body = app(environ, lambda status, _headers, _exc_info=None: statuses.append(status))
        list(body)
        body.close()
        wk.uninstrument(app)
    assert statuses == ["500 Internal Server Error"]
    (event,) = seen.errors
    assert event.request is not None
    assert (event.type, event.request.route) == ("RuntimeError", "/orders/{order_id}/")


def django_order(_request: Any, order_id: int) -> None:
    raise RuntimeError(f"no order {order_id}")


class DjangoUrls:
    urlpatterns = (django.urls.path("orders/<int:order_id>/", django_order),)


# Threads, event loops, the interpreter


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_is_an_event_and_the_former_hook_hears_of_it(
    seen: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    wk.shutdown()
    monkeypatch.setattr(threading, "excepthook", heard.append)
    with capture() as again:
        thread = threading.Thread(target=lambda: 1 / 0, name="worker-7")
        thread.start()
        thread.join()
        ours = threading.excepthook
    (event,) = again.errors
    assert (event.type, event.mechanism, event.handled) == ("ZeroDivisionError", "thread", False)
    assert event.extra == {"thread": "worker-7"}
    assert [args.exc_type for args in heard] == [ZeroDivisionError]
    assert ours != heard.append
    assert threading.excepthook == heard.append
    assert seen.errors == []


def test_hooks_are_given_back_and_a_later_one_is_left_alone() -> None:
    before = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    with capture():
        assert sys.excepthook is not before[0]
    assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == before
    called: list[str] = []
    try:
        with capture():
            inner = sys.excepthook

            def later(*args: Any) -> None:
                called.append("later")
                inner(*args)

            sys.excepthook = later
        assert sys.excepthook is later
        with capture() as seen:  # ours is below theirs, and in front of it again
            error = raised(ValueError("no"))
            sys.excepthook(ValueError, error, error.__traceback__)
        assert called == ["later"]
        assert len(seen.errors) == 1
    finally:
        sys.excepthook = before[0]


def test_what_nobody_handles_is_critical(seen: Captured, capsys: pytest.CaptureFixture[str]) -> None:
    error = raised(ValueError("no"))
    sys.excepthook(ValueError, error, error.__traceback__)
    (event,) = seen.errors
    assert (event.severity, event.mechanism, event.handled) == ("critical", "excepthook", False)
    assert "ValueError: no" in capsys.readouterr().err


def test_an_error_that_a_finalizer_logs_while_errors_are_counted_up_waits_for_nobody(
    seen: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Worn:
        def __init__(self) -> None:
            self.myself = self  # what only the collector of garbage takes away

        def __del__(self) -> None:
            logging.getLogger("shop").error("could not be closed", exc_info=ValueError("worn"))

    class Collected(Counter[str]):
        def total(self) -> int:  # any allocation may do so
            Worn()
            gc.collect()
            return super().total()

    monkeypatch.setattr(tally, "_categories", Collected())
    asking = threading.Thread(target=wk.error_stats, daemon=True)
    asking.start()
    asking.join(5)
    assert not asking.is_alive()
    assert [event.type for event in seen.errors] == ["ValueError"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_finalizer_that_fails_is_an_event_once_there_is_room_for_it(seen: Captured) -> None:
    class Connection:
        def __del__(self) -> None:
            raise OSError("cannot close")

    Connection()
    gc.collect()
    assert seen.errors == []
    wk.flush()
    (event,) = seen.errors
    assert (event.type, event.mechanism) == ("OSError", "unraisable")


async def fail_in_callback() -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_an_event_loops_unhandled_exceptions_are_events() -> None:
    async def main() -> Captured:
        with capture() as seen:
            await fail_in_callback()
            wk.flush()
        return seen

    (event,) = asyncio.run(main()).errors
    assert (event.type, event.mechanism, event.handled) == ("ZeroDivisionError", "asyncio", False)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("way", ["task", "callback"])
def test_what_is_left_unhandled_is_of_the_request_that_began_it(way: str, run: Any, seen: Captured) -> None:
    app = FastAPI()

    async def fails() -> None:
        raise OSError("left alone")

    def fails_at_once() -> None:
        raise OSError("left alone")

    @app.get("/")
    async def endpoint() -> None:
        with wk.span("outer"):
            if way == "task":
                asyncio.create_task(fails())  # noqa: RUF006  # as applications do
            else:
                asyncio.get_running_loop().call_later(0.001, fails_at_once)

    wk.instrument(app)

    async def main() -> None:
        await request(app, "/", headers=[("x-request-id", "r-7")])
        await asyncio.sleep(0.01)
        gc.collect()
        wk.flush()

    run(main())
    (event,) = seen.errors
    outer = seen.span("outer")
    assert (event.type, event.mechanism, event.handled) == ("OSError", "asyncio", False)
    assert (event.trace_id, event.span_id, event.request_id) == (outer.trace_id, outer.span_id, "r-7")
    (line,) = [record for record in seen.records if record.logger == "asyncio"]
    assert (line.trace_id, line.request_id, line.failure.event_id) == (outer.trace_id, "r-7", event.event_id)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_a_loop_leaves_unhandled_is_an_event_whoever_runs_it(run: Any, seen: Captured) -> None:
    run(fail_in_callback())
    wk.flush()
    (event,) = seen.errors
    assert (event.type, event.mechanism, event.handled) == ("ZeroDivisionError", "asyncio", False)


def test_shutdown_gives_the_class_of_event_loops_back() -> None:
    before = asyncio.BaseEventLoop.default_exception_handler
    with capture():
        assert asyncio.BaseEventLoop.default_exception_handler is not before
    assert asyncio.BaseEventLoop.default_exception_handler is before


def test_the_applications_own_handler_of_an_event_loop_goes_on() -> None:
    heard: list[Any] = []

    async def main() -> tuple[Captured, Any]:
        loop = asyncio.get_running_loop()

        def handler(_loop: Any, context: dict[str, Any]) -> None:
            heard.append(context["exception"])

        loop.set_exception_handler(handler)
        with capture() as seen:
            await fail_in_callback()
        return seen, loop.get_exception_handler() is handler

    seen, given_back = asyncio.run(main())
    assert given_back
    assert [type(error) for error in heard] == [ZeroDivisionError]
    assert [event.mechanism for event in seen.errors] == ["asyncio"]


async def test_a_handler_that_an_application_sets_at_its_start_is_kept_too() -> None:
    heard: list[Any] = []
    loop = asyncio.get_running_loop()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        loop.set_exception_handler(lambda _loop, context: heard.append(context["exception"]))
        await send({"type": "lifespan.startup.complete"})

    async def nothing(*_: Any) -> Any:
        return {"type": "lifespan.startup"}

    try:
        with capture() as seen:
            await wk.instrument(app)({"type": "lifespan"}, nothing, nothing)
            await fail_in_callback()
            wk.flush()
        assert len(heard) == 1
        assert len(seen.errors) == 1
    finally:
        loop.set_exception_handler(None)


# Breadcrumbs


def test_breadcrumbs_are_lines_calls_and_what_the_application_notes(seen: Captured) -> None:
    def work() -> None:
        wk.get_logger("shop").debug("not this")
        wk.get_logger("shop").info("placed", order_id=7)
        with Call("SELECT orders", DATABASE, {"db.system.name": "sqlite"}):
            pass
        wk.add_breadcrumb("cart restored", category="cart", items=3, password="x")
        wk.capture_exception(raised(ValueError()))

    thread = threading.Thread(target=work)  # a context of its own
    thread.start()
    thread.join()
    (event,) = seen.errors
    assert [(each.category, each.message, each.level) for each in event.breadcrumbs] == [
        ("log.shop", "placed", "info"),
        ("database", "SELECT orders", "info"),
        ("cart", "cart restored", "info"),
    ]
    log, query, cart = event.breadcrumbs
    assert log.data == {"order_id": 7}
    assert query.data["db.system.name"] == "sqlite"
    assert cart.data == {"items": 3, "password": "[redacted]"}
    assert log.time_ns <= query.time_ns <= cart.time_ns <= event.time_ns


@pytest.mark.parametrize(
    "add",
    [
        lambda: wk.add_breadcrumb("restored", category="cart", level="fatal", items=3),
        lambda: wk.add_breadcrumb(message="restored", category="cart", level="fatal", data={"items": 3}),
        lambda: wk.add_breadcrumb({"message": "restored", "category": "cart", "level": "fatal", "data": {"items": 3}}),
    ],
)
def test_a_breadcrumb_is_added_as_to_sentry(seen: Captured, add: Callable[[], None]) -> None:
    add()
    wk.capture_exception(raised(ValueError()))
    crumb = seen.errors[-1].breadcrumbs[-1]
    assert (crumb.message, crumb.category, crumb.level, crumb.data) == ("restored", "cart", "critical", {"items": 3})


def test_a_breadcrumb_of_whatever_harms_nobody(seen: Captured) -> None:
    odd: Any = wk.add_breadcrumb
    for add in (
        odd,
        lambda: odd(None, data=7),
        lambda: odd({1: 2, "message": {}}),
        lambda: odd("x", level=object(), data=None),
    ):
        add()
    wk.capture_exception(raised(ValueError()))
    assert len(seen.errors[-1].breadcrumbs) >= 4


def test_a_call_is_a_breadcrumb_whatever_the_sampler_decides() -> None:
    with capture(wk.Options(logs=QUIET, traces=wk.TraceOptions(sampler="always_off"))) as seen:
        with pytest.raises(OSError, match="gone"), Call("GET", DATABASE):
            raise OSError("gone")
        wk.capture_exception(raised(ValueError()))
    last = seen.errors[-1].breadcrumbs[-1]
    assert (last.message, last.level, last.data["error.type"]) == ("GET", "error", "OSError")


def test_the_newest_hundred_breadcrumbs_are_kept(seen: Captured) -> None:
    for number in range(250):
        wk.add_breadcrumb(str(number))
    wk.capture_exception(raised(ValueError()))
    assert [each.message for each in seen.errors[0].breadcrumbs] == [str(number) for number in range(150, 250)]


async def test_requests_do_not_share_breadcrumbs(seen: Captured) -> None:
    app = FastAPI()
    both = asyncio.Barrier(2)

    @app.get("/{name}")
    async def endpoint(name: str) -> None:
        wk.add_breadcrumb(name)
        await both.wait()
        wk.add_breadcrumb(f"{name} again")
        raise ValueError(name)

    wk.instrument(app)
    await asyncio.gather(request(app, "/a"), request(app, "/b"))
    (event,) = seen.errors  # the second one is a repeat
    name = event.message
    assert [each.message for each in event.breadcrumbs] == [name, f"{name} again"]


def test_another_traces_breadcrumbs_are_left_out(seen: Captured) -> None:
    with wk.span("first job"):
        wk.get_logger("worker").info("first")
    with wk.span("second job"):
        wk.get_logger("worker").info("second")
        wk.capture_exception(raised(ValueError()))
    messages = [each.message for each in seen.errors[0].breadcrumbs]
    assert "second" in messages
    assert "first" not in messages


# Repeats and limits


def fail(number: int) -> None:
    wk.capture_exception(raised(ValueError(f"order {number}")))


def test_repeats_within_five_minutes_are_counted_and_told_once() -> None:
    clock = FakeClock()
    with capture(wk.Options(logs=QUIET), clock=clock.clock()) as seen:
        for number in range(5):
            fail(number)
            clock.advance(10)
        assert len(seen.errors) == 1
        clock.advance(249)
        wk.flush()
        assert len(seen.errors) == 1
        clock.advance(1)
        wk.flush()
        first, told = seen.errors
        assert (first.repeats, told.repeats) == (0, 4)
        assert told.fingerprint == first.fingerprint
        assert told.event_id != first.event_id
        assert told.time_ns == first.time_ns + 40_000_000_000
        fail(9)
        assert len(seen.errors) == 3
    assert len(seen.errors) == 3


def test_repeats_are_told_at_shutdown_too(seen: Captured) -> None:
    for number in range(3):
        fail(number)
    wk.shutdown()
    assert [event.repeats for event in seen.errors] == [0, 2]


def test_a_repeat_is_known_by_the_event_it_repeats(seen: Captured) -> None:
    def again() -> str:
        return wk.capture_exception(raised(ValueError()))

    assert again() == again() == seen.errors[0].event_id


def test_a_hundred_leave_a_minute() -> None:
    clock = FakeClock()
    with capture(wk.Options(logs=QUIET), clock=clock.clock()) as seen:
        before = dropped("errors", "rate_limited")
        for number in range(130):
            wk.capture_message("x", fingerprint=f"kind {number}")
        assert len(seen.errors) == 100
        assert dropped("errors", "rate_limited") == before + 30
        clock.advance(60)
        wk.capture_message("x", fingerprint="kind 129")
        assert len(seen.errors) == 101
    assert wk.error_stats().by_category["unknown"] >= 131


def test_memory_is_bounded_whatever_comes(seen: Captured) -> None:
    for number in range(3_000):
        wk.capture_message("x", fingerprint=f"kind {number}")
    assert len(seen.errors) == 100
    assert len(wk.error_stats().by_fingerprint) <= 1_000


def test_a_share_is_sent() -> None:
    with capturing(sample_rate=0.0) as seen:
        before = dropped("errors", "sampled")
        wk.capture_message("x")
        assert dropped("errors", "sampled") == before + 1
    assert seen.errors == []


# Options


def test_rules_change_category_severity_and_fingerprint_and_ignore() -> None:
    class DeclinedError(Exception):
        pass

    class ExpiredCardError(DeclinedError):
        pass

    rules = (
        wk.ErrorRule(type="DeclinedError", category="validation", severity="warning", fingerprint="declined"),
        wk.ErrorRule(type="builtins.ConnectionResetError", message="by peer", ignore=True),
        wk.ErrorRule(module=__name__, message="stock", severity="info"),
    )
    with capturing(rules=rules) as seen:
        wk.capture_exception(raised(DeclinedError()))
        wk.capture_exception(raised(ExpiredCardError()))
        before = wk.error_stats().total
        assert wk.capture_exception(raised(ConnectionResetError("reset by peer"))) == ""
        assert wk.error_stats().total == before
        wk.capture_exception(raised(ConnectionResetError("otherwise")))
        wk.capture_exception(raised(LookupError("out of stock")))
    told = [(event.category, event.severity, event.grouped_by_rule) for event in seen.errors]
    assert told == [
        ("validation", "warning", True),
        ("network", "error", False),
        ("unknown", "info", False),
        ("validation", "warning", True),  # both are one kind: its repeat
    ]
    assert seen.errors[-1].repeats == 1


def test_before_send_changes_and_keeps_back() -> None:
    def before_send(event: wk.ErrorEvent) -> wk.ErrorEvent | None:
        return None if event.type == "LookupError" else replace(event, tags={"seen": "yes"})

    with capturing(before_send=before_send) as seen:
        before = dropped("errors", "before_send")
        wk.capture_exception(raised(LookupError()))
        wk.capture_exception(raised(ValueError()))
        assert dropped("errors", "before_send") == before + 1
    assert [(event.type, event.tags) for event in seen.errors] == [("ValueError", {"seen": "yes"})]


def test_what_before_send_cannot_look_at_does_not_leave() -> None:
    def before_send(_event: wk.ErrorEvent) -> wk.ErrorEvent | None:
        raise RuntimeError("a bug")

    with capturing(before_send=before_send) as seen:
        before = dropped("errors", "before_send_failed")
        wk.capture_exception(raised(ValueError()))
        assert dropped("errors", "before_send_failed") == before + 1
    assert seen.errors == []


def test_the_applications_modules_can_be_named() -> None:
    with capturing(in_app=("shop",)) as seen:
        wk.capture_exception(raised(ValueError()))
    assert not any(frame.in_app for frame in seen.errors[0].exceptions[0].frames)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dsn": "https://sentry.example/7"}, "SENTRY_DSN"),
        ({"dsn": "ftp://key@sentry.example/7"}, "SENTRY_DSN"),
        ({"dsn": "https://key@sentry.example/"}, "SENTRY_DSN"),
        ({"sample_rate": 1.5}, "errors.sample_rate"),
        ({"most_per_minute": 0}, "errors.most_per_minute"),
        ({"rules": (wk.ErrorRule(severity="info"),)}, r"errors.rules\[0\] fits every error"),
        ({"rules": (wk.ErrorRule(type="X"),)}, r"errors.rules\[0\] changes nothing"),
        ({"rules": (wk.ErrorRule(type="X", message="(", ignore=True),)}, "is not a regular expression"),
        ({"rules": (wk.ErrorRule(type="X", category="odd"),)}, "use one of database"),  # type: ignore[arg-type]
    ],
)
def test_an_option_that_cannot_work_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(wk.ConfigurationError, match=message):
        wk.ErrorOptions(**options).validate()


def test_options_come_from_sentrys_variables() -> None:
    environ = {
        "SENTRY_DSN": "https://key@sentry.example/prefix/7",
        "SENTRY_RELEASE": "shop@1.2",
        "SENTRY_ENVIRONMENT": "staging",
        "SENTRY_SAMPLE_RATE": "0.5",
        "WATCHKEEPER_ERRORS_SEND_DEFAULT_PII": "true",
        "WATCHKEEPER_ERRORS_LOCAL_VARIABLES": "true",
        "WATCHKEEPER_ERRORS_IN_APP": "shop, billing",
        "WATCHKEEPER_ERRORS_REPEAT_WINDOW": "60000",
        "WATCHKEEPER_ERRORS_MOST_PER_MINUTE": "10",
    }
    assert wk.Options.from_environment(environ).errors == wk.ErrorOptions(
        dsn="https://key@sentry.example/prefix/7",
        release="shop@1.2",
        environment="staging",
        sample_rate=0.5,
        send_default_pii=True,
        local_variables=True,
        in_app=("shop", "billing"),
        repeat_window_seconds=60.0,
        most_per_minute=10,
    )
    assert not wk.Options.from_environment({"WATCHKEEPER_ERRORS": "false"}).errors.enabled


# Whatever an exception may be


class BrokenMethodsError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


class NoAttributesError(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class LoggingError(Exception):
    def __str__(self) -> str:
        wk.get_logger("x").error("asked", exc_info=KeyError("inside"))
        return "said"


def cyclic() -> Exception:
    first, second = ValueError("first"), TypeError("second")
    first.__cause__, second.__context__ = second, first
    return first


def deep() -> Exception:
    error = Exception("0")
    for number in range(1, 3_000):
        outer = Exception(str(number))
        outer.__cause__ = error
        error = outer
    return error


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (BrokenMethodsError(), "BrokenMethodsError: <unprintable BrokenMethodsError: RuntimeError>"),
        (NoAttributesError("no"), "NoAttributesError: no"),
        (cyclic(), "ValueError: first"),
        (deep(), "Exception: 2999"),
        (MemoryError(), "MemoryError"),
        (
            ExceptionGroup("many", [ExceptionGroup("inner", [ValueError(n)]) for n in range(500)]),
            "ExceptionGroup: many",
        ),
        (ValueError("x" * 10_000_000), f"ValueError: {'x' * 200}"),
        (ValueError("\ud800 \x00"), "ValueError: \ud800 \x00"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_any_exception_is_told_once_and_harms_nobody(seen: Captured, error: Exception, title: str) -> None:
    caught = raised(error)
    assert wk.capture_exception(caught) == wk.capture_exception(caught) != ""
    (event,) = seen.errors
    assert event.title.removeprefix(f"{__name__}.").startswith(title)
    assert len(event.exceptions) <= 50
    assert len(event.exceptions[0].message) < 17_000


def test_an_error_inside_of_capturing_waits_its_turn(seen: Captured) -> None:
    wk.capture_exception(raised(LoggingError()))
    wk.flush()
    assert {event.type.rpartition(".")[2] for event in seen.errors} == {"LoggingError", "KeyError"}


def test_the_stack_of_a_recursion_is_kept_at_both_ends(seen: Captured) -> None:
    def recurse(depth: int) -> None:
        recurse(depth + 1)

    def begin() -> None:
        recurse(0)

    try:
        begin()
    except RecursionError as error:
        wk.capture_exception(error)
    (problem,) = seen.errors[0].exceptions
    assert len(problem.frames) == 100
    assert problem.frames_left_out > 500
    assert [frame.function.rpartition(".")[2] for frame in problem.frames[1:3]] == ["begin", "recurse"]


def test_capturing_where_the_stack_is_full_harms_nobody(seen: Captured) -> None:
    def recurse() -> None:
        try:
            recurse()
        except RecursionError as error:
            wk.capture_exception(error)
            raise

    with pytest.raises(RecursionError):
        recurse()
    assert len(seen.errors) >= 1


def test_the_mark_survives_nothing_that_would_notice_it(seen: Captured) -> None:
    error = raised(ValueError("no"))
    wk.capture_exception(error)
    assert (str(error), error.args, repr(error)) == ("no", ("no",), "ValueError('no')")
    assert list(vars(error)) == [MARK]


def test_chains_and_groups_are_told_whole(seen: Captured) -> None:
    try:
        try:
            try:
                raise KeyError("sku")
            except KeyError as error:
                raise ValueError("bad order") from error
        except ValueError:
            raise ExceptionGroup("all", [OSError("a"), OSError("b")])  # noqa: B904  # its context is the point
    except ExceptionGroup as error:
        wk.capture_exception(error)
    told = [(each.type, each.parent, each.source, each.is_group) for each in seen.errors[0].exceptions]
    assert told == [
        ("ExceptionGroup", -1, "", True),
        ("ValueError", 0, "__context__", False),
        ("KeyError", 1, "__cause__", False),
        ("OSError", 0, "exceptions[0]", False),
        ("OSError", 0, "exceptions[1]", False),
    ]


def test_a_context_that_was_suppressed_is_not_told(seen: Captured) -> None:
    try:
        try:
            raise KeyError("secret way")
        except KeyError:
            raise ValueError("no") from None
    except ValueError as error:
        wk.capture_exception(error)
    assert len(seen.errors[0].exceptions) == 1


def test_secrets_are_taken_out_of_messages_and_extras(seen: Captured) -> None:
    wk.capture_exception(raised(ValueError("password=hunter2")), api_key="abc", note="token=abcdefgh")
    (event,) = seen.errors
    assert "hunter2" not in repr(event)
    assert event.extra == {"api_key": "[redacted]", "note": "token=[redacted]"}


# Local variables


class Lazy:
    """What a proxy or a query of an ORM is like."""

    def __init__(self) -> None:
        self.asked = 0

    def __repr__(self) -> str:
        self.asked += 1
        raise RuntimeError("a query")

    __str__ = __len__ = __iter__ = __repr__  # type: ignore[assignment]

    @property
    def __class__(self) -> Any:
        self.asked += 1
        return dict


def test_local_variables_are_told_only_where_asked_for_bounded_and_without_secrets() -> None:
    def fail() -> None:
        order_id, password, text = 7, "hunter2", "x" * 10_000
        card = {"number": "tea", "cvv": 123, "deep": {"a": {"b": {"c": {}}}}}
        recursive: list[Any] = []
        recursive += [recursive] * 1_000
        lazy, huge = Lazy(), 10**6_000
        try:
            raise ValueError
        finally:
            variables.update(lazy=lazy, rest=(order_id, password, text, card, huge))

    variables: dict[str, Any] = {}
    told = []
    for wanted in (True, False):
        with capturing(local_variables=wanted) as seen:
            try:
                fail()
            except ValueError as error:
                wk.capture_exception(error)
            told.append(seen.errors[0].exceptions[0].frames[-1].variables)
    shown, hidden = told
    assert hidden == {}
    assert (shown["order_id"], shown["password"]) == ("7", "[redacted]")
    assert shown["text"] == f"'{'x' * 200}'…"
    assert shown["card"].startswith("{'number': 'tea', 'cvv': [redacted], 'deep': {'a': {'b': …}}")
    assert "990 more" in shown["recursive"]
    assert max(map(len, shown.values())) <= 1_024
    assert variables["lazy"].asked == 0
    assert shown["lazy"].endswith("Lazy asked=0>")
    assert shown["huge"] == "<int: ValueError>"
