"""What a Sentry gets: read with sentry-sdk's own parser, over a real connection."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sentry_sdk
from fastapi import FastAPI
from sentry_sdk.envelope import Envelope
from sentry_sdk.utils import Dsn as TheirDsn

import watchkeeper as wk
from support.sdk import Sink, attributes, dropped, eventually, ok, request, serving, status
from watchkeeper.errors.building import Source
from watchkeeper.errors.collector import collector
from watchkeeper.errors.envelope import LARGEST_EVENT, EnvelopeEncoder, as_json
from watchkeeper.errors.event import ErrorEvent, Frame, Problem
from watchkeeper.errors.options import parse_dsn
from watchkeeper.errors.sentry import limit_of_errors

QUIET = wk.LogOptions(stream="off")


def configure(sink: Sink, path: str = "", key: str = "public", **errors: Any) -> None:
    dsn = f"{sink.url.replace('://', f'://{key}@')}{path}/7"
    service = wk.ServiceOptions("shop", "1.2.0", "staging")
    wk.configure(
        wk.Options(service=service, logs=QUIET, export={}, errors=wk.ErrorOptions(dsn=dsn, **errors), integrations=())
    )


def envelopes(sink: Sink, path: str = "/api/7/envelope/") -> list[Envelope]:
    return [Envelope.deserialize(body) for body in sink.bodies(path)]


def events(sink: Sink) -> list[dict[str, Any]]:
    found = [envelope.get_event() for envelope in envelopes(sink)]
    assert all(event is not None for event in found)
    return [dict(event) for event in found if event is not None]


def charge(amount: int) -> None:
    raise ValueError(f"cannot charge {amount}")


def capture(amount: int = 7, **extra: Any) -> str:
    try:
        charge(amount)
    except ValueError as error:
        return wk.capture_exception(error, **extra)


def test_an_event_arrives_as_sentrys_own_sdk_reads_it(sink: Sink) -> None:
    configure(sink)
    with wk.bound_context(user_id="u-7"), wk.span("pay"):
        wk.get_logger("shop").info("charging")
        event_id = capture(order_id=7)
    assert wk.flush()
    (envelope,) = envelopes(sink)
    assert [item.type for item in envelope.items] == ["event"]
    assert envelope.headers["event_id"] == event_id
    (event,) = events(sink)
    assert event["event_id"] == event_id
    assert (event["platform"], event["level"]) == ("python", "error")
    assert (event["release"], event["environment"]) == ("1.2.0", "staging")
    assert (event["user"], event["extra"]["order_id"]) == ({"id": "u-7"}, 7)
    assert event["tags"] == {"category": "unknown"}
    assert event["breadcrumbs"]["values"][-1]["message"] == "charging"
    (exception,) = event["exception"]["values"]
    assert (exception["type"], exception["value"]) == ("ValueError", "cannot charge 7")
    assert exception["mechanism"] == {"type": "capture", "handled": True, "exception_id": 0}
    outer, inner = exception["stacktrace"]["frames"]
    assert (outer["function"], inner["function"]) == ("capture", "charge")
    assert inner["context_line"] == '    raise ValueError(f"cannot charge {amount}")'
    assert inner["pre_context"][-1] == "def charge(amount: int) -> None:"
    assert len(inner["post_context"]) == 5
    assert inner["abs_path"] == __file__
    assert inner["in_app"]
    assert "fingerprint" not in event  # Sentry's own grouping is its users'


def test_the_trace_is_opentelemetrys(sink: Sink) -> None:
    configure(sink)
    with wk.span("pay") as span:
        capture()
        context = span.get_span_context()
    wk.flush()
    (event,) = events(sink)
    assert event["contexts"]["trace"] == {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
    }


async def test_a_request_is_told(sink: Sink) -> None:
    configure(sink, send_default_pii=True)
    app = FastAPI()

    @app.get("/orders/{order_id}")
    async def order(order_id: int) -> None:
        charge(order_id)

    wk.instrument(app)
    await request(app, "/orders/7?page=2", headers=[("x-correlation-id", "c-1")])
    assert await asyncio.to_thread(wk.flush)
    (event,) = events(sink)
    assert event["transaction"] == "GET /orders/{order_id}"
    told = event["request"]
    assert (told["method"], told["url"], told["query_string"]) == ("GET", "http://shop.example:8000/orders/7", "page=2")
    assert told["env"] == {"REMOTE_ADDR": "192.0.2.7"}
    assert event["tags"]["correlation_id"] == "c-1"
    assert not event["exception"]["values"][-1]["mechanism"]["handled"]


def test_a_chain_is_told_with_what_was_caught_last(sink: Sink) -> None:
    configure(sink)
    try:
        try:
            charge(1)
        except ValueError as error:
            raise ExceptionGroup("all", [LookupError("a")]) from error
    except ExceptionGroup as error:
        wk.capture_exception(error)
    wk.flush()
    (event,) = events(sink)
    told = [(each["type"], each["mechanism"]) for each in event["exception"]["values"]]
    assert [kind for kind, _ in told] == ["LookupError", "ValueError", "ExceptionGroup"]
    assert told[0][1]["parent_id"] == 0
    assert told[0][1]["source"] == "exceptions[0]"
    assert told[1][1]["source"] == "__cause__"
    assert told[2][1]["is_exception_group"]


def test_a_message_and_a_rules_fingerprint_are_told(sink: Sink) -> None:
    configure(sink)
    wk.capture_message("stock is low", severity="critical", fingerprint="stock")
    wk.flush()
    (event,) = events(sink)
    assert (event["logentry"], event["level"]) == ({"formatted": "stock is low"}, "fatal")
    assert event["fingerprint"] == [event["contexts"]["watchkeeper"]["fingerprint"]]


def test_repeats_are_told_by_a_second_event(sink: Sink) -> None:
    configure(sink)
    for amount in range(4):
        capture(amount)
    wk.shutdown()
    first, second = events(sink)
    assert [each["contexts"]["watchkeeper"]["repeats"] for each in (first, second)] == [0, 3]


@pytest.mark.parametrize(
    "text",
    [
        "https://public@sentry.example/42",
        "https://public:secret@sentry.example/42",
        "http://public@sentry.example:9000/42",
        "https://public@sentry.example/below/that/42",
        "https://public@o7.ingest.sentry.example/42",
        "http://public@[::1]:9000/42",
    ],
)
def test_every_form_of_a_dsn_is_read_as_sentry_reads_it(text: str) -> None:
    ours = parse_dsn(text)
    theirs = TheirDsn(text)
    assert ours.endpoint.replace("[", "").replace("]", "") == theirs.to_auth().get_api_url()
    assert (ours.public_key, ours.secret_key or None) == (theirs.public_key, theirs.secret_key)


def test_keys_and_path_reach_the_server(sink: Sink) -> None:
    configure(sink, path="/below", key="public:secret")
    capture()
    wk.flush()
    ((path, headers, _),) = sink.requests
    assert path == "/below/api/7/envelope/"
    assert headers["content-type"] == "application/x-sentry-envelope"
    told = dict(part.split("=") for part in headers["x-sentry-auth"].removeprefix("Sentry ").split(", "))
    assert (told["sentry_version"], told["sentry_key"], told["sentry_secret"]) == ("7", "public", "secret")
    assert told["sentry_client"].startswith("watchkeeper-python/")


def test_large_events_are_compressed(sink: Sink) -> None:
    configure(sink)
    capture(note="x" * 12_000)
    wk.flush()
    ((_, headers, body),) = sink.requests
    assert headers["content-encoding"] == "gzip"
    assert Envelope.deserialize(gzip.decompress(body)).get_event() is not None


# A server that wants no more


@pytest.mark.parametrize(
    "answer",
    [
        status(429, retry_after="60"),
        status(429),
        status(429, x_sentry_rate_limits="60:error:organization"),
        status(200, x_sentry_rate_limits="60::organization"),
    ],
)
def test_a_server_that_wants_no_more_is_left_alone_and_what_is_dropped_is_counted(sink: Sink, answer: Any) -> None:
    sink.answers = [answer, ok]
    configure(sink)
    before = dropped("errors", "rate_limited_by_server")
    wk.capture_message("a", fingerprint="a")
    wk.flush()
    refused = dropped("errors", "rate_limited_by_server") - before
    for name in "bc":
        wk.capture_message(name, fingerprint=name)
    wk.flush()
    assert len(sink.requests) == 1
    assert dropped("errors", "rate_limited_by_server") == before + refused + 2


def test_limits_of_other_kinds_do_not_concern_errors(sink: Sink) -> None:
    sink.answers = [status(200, x_sentry_rate_limits="60:transaction;session:key")]
    configure(sink)
    for name in "ab":
        wk.capture_message(name, fingerprint=name)
        wk.flush()
    assert len(sink.requests) == 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("60:error:key", 60),
        ("60:transaction:key, 2700:default;error;security:organization", 2700),
        ("60::organization", 60),
        ("60", 60),
        ("60:transaction:key", 0),
        ("soon:error:key", 0),
        ("", 0),
        ("1e12:error:key", 86_400),
        ("nan:error:key", 0),
    ],
)
def test_limits_are_read(header: str, seconds: float) -> None:
    assert limit_of_errors(header) == seconds


def test_a_server_that_is_away_for_a_moment_gets_the_event_later(sink: Sink) -> None:
    sink.answers = [status(503, retry_after="0"), ok]
    configure(sink)
    event_id = capture()
    eventually(lambda: len(sink.requests) == 2)
    assert {envelope.headers["event_id"] for envelope in envelopes(sink)} == {event_id}


def test_a_server_that_refuses_is_asked_once_and_what_is_lost_is_counted(sink: Sink) -> None:
    sink.answers = [status(403)]
    configure(sink)
    before = dropped("errors", "http_403")
    capture()
    wk.flush()
    assert len(sink.requests) == 1
    assert dropped("errors", "http_403") == before + 1


# Whatever an event holds


def problem(frames: int, variables: int = 0) -> Problem:
    frame = Frame("shop", "f", __file__, 20, variables={f"v{n}": "x" * 1_000 for n in range(variables)})
    return Problem("ValueError", "builtins", "x" * 16_000, (frame,) * frames)


def test_an_event_that_is_too_large_loses_what_can_be_missed() -> None:
    event = ErrorEvent("0" * 32, 1, "error", "unknown", "f", "m", tuple(problem(100, 40) for _ in range(40)))
    encoded = EnvelopeEncoder(lambda: 1).encode([event])
    assert len(encoded) <= LARGEST_EVENT
    told = Envelope.deserialize(encoded).get_event()
    assert told is not None
    assert told["exception"]["values"]


def test_texts_that_are_no_unicode_and_numbers_without_end_are_json() -> None:
    value = {"a": "\ud800", "b": 2**70, "c": b"\xff", "d": (1, {"e": None}), "\udfff": float("nan"), "f": float("-inf")}
    told = json.loads(as_json(value), parse_constant=pytest.fail)  # by itself it takes what is no JSON
    assert told["f"] is None
    assert told["a"] == "\ufffd"
    assert told["b"] == 2**70
    assert told["d"] == [1, {"e": None}]


def test_source_that_is_not_there_is_left_out(sink: Sink) -> None:
    configure(sink)
    try:
        exec(compile("1 / 0", "/nowhere/generated.py", "exec"), {})  # noqa: S102  # code without a file and a module
    except ZeroDivisionError as error:
        wk.capture_exception(error)
    wk.flush()
    frame = events(sink)[0]["exception"]["values"][0]["stacktrace"]["frames"][-1]
    assert "context_line" not in frame
    assert frame["filename"] == "generated.py"


# sentry-sdk beside us


@contextmanager
def sentry_running() -> Iterator[list[Any]]:
    sent: list[Any] = []

    def before_send(event: Any, _hint: Any) -> None:
        sent.append(event)

    before = sentry_sdk.get_client()
    sentry_sdk.init("http://key@127.0.0.1:9/1", before_send=before_send, default_integrations=False)
    try:
        yield sent
    finally:
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.get_global_scope().set_client(before)


def test_where_sentry_sdk_runs_it_does_the_talking(sink: Sink) -> None:
    configure(sink)
    with sentry_running() as sent:
        with wk.bound_context(user_id="u-7"), wk.span("pay") as span:
            capture(order_id=7)
            context = span.get_span_context()
        wk.capture_message("stock is low", fingerprint="stock")
        wk.flush()
    error, message = sent
    assert error["exception"]["values"][0]["value"] == "cannot charge 7"
    assert (error["user"], error["tags"]["category"]) == ({"id": "u-7"}, "unknown")
    assert error["contexts"]["watchkeeper"]["trace_id"] == f"{context.trace_id:032x}"
    assert error["contexts"]["watchkeeper extra"]["order_id"] == 7
    assert message["logentry"] == {"formatted": "stock is low"}
    assert sink.requests == []


# Watchkeeper


def to_both(sink: Sink) -> None:
    dsn = f"{sink.url.replace('://', '://public@')}/7"
    options = sink.options(logs=QUIET, errors=wk.ErrorOptions(dsn=dsn), integrations=())
    wk.configure(replace(options, queue=wk.QueueOptions(delay_seconds=3_600)))


def test_an_error_that_was_logged_is_told_to_watchkeeper_by_its_line(sink: Sink) -> None:
    to_both(sink)
    try:
        charge(7)
    except ValueError as error:
        event_id = wk.capture_exception(error)  # the line comes after it
        wk.get_logger("shop").exception("charging failed")
    wk.flush()
    (record,) = sink.records()
    told = attributes(record)
    assert record.body.string_value == "charging failed"
    assert (told["exception.type"], told["exception.message"]) == ("ValueError", "cannot charge 7")
    assert (told["error.id"], told["error.category"]) == (event_id, "unknown")
    (event,) = events(sink)
    assert event["contexts"]["watchkeeper"]["fingerprint"] == told["error.fingerprint"]


def test_an_error_that_nobody_logs_is_a_record_of_its_own(sink: Sink) -> None:
    to_both(sink)
    with wk.bound_context(user_id="u-7"), wk.span("pay") as span:
        event_id = capture()
        trace_id = span.get_span_context().trace_id
    wk.capture_message("stock is low 7")
    wk.flush()
    error, message = sink.records()
    told = attributes(error)
    assert error.body.string_value == "ValueError: cannot charge 7"
    assert told["error.id"] == event_id
    assert told["user_id"] == "u-7"
    assert error.trace_id == trace_id.to_bytes(16)
    stack = told["exception.stacktrace"].splitlines()
    assert stack[0] == "Traceback (most recent call last):"
    assert stack[-2:] == ['    raise ValueError(f"cannot charge {amount}")', "ValueError: cannot charge 7"]
    assert message.body.string_value == "stock is low 7"
    assert attributes(message)["error.category"] == "unknown"


def test_an_event_loops_error_that_asyncio_logs_is_told_once(sink: Sink) -> None:
    async def main() -> None:
        to_both(sink)
        asyncio.get_running_loop().call_soon(charge, 7)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    wk.flush()
    (record,) = sink.records()
    assert record.body.string_value.startswith("Exception in callback")
    assert len(events(sink)) == 1


def test_without_a_sentry_nothing_is_sent_to_one(sink: Sink) -> None:
    wk.configure(sink.options(logs=QUIET, integrations=()))
    capture()
    wk.flush()
    assert {path for path, _, _ in sink.requests} <= {"/v1/logs", "/v1/metrics", "/v1/traces"}
    assert len(sink.records()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_tells_of_its_own_errors(sink: Sink) -> None:
    configure(sink)
    capture(1)
    wk.flush()
    collector.defer(LookupError("the parent's"), Source("unraisable"))
    child = os.fork()
    if not child:
        capture(2)  # a repeat in the parent, the first in a child
        wk.flush()
        os._exit(0 if wk.error_stats().total == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    values = [event["exception"]["values"][0]["value"] for event in events(sink)]
    assert values == ["cannot charge 1", "cannot charge 2"]
    wk.flush()
    assert events(sink)[-1]["exception"]["values"][0]["value"] == "the parent's"


def test_the_log_of_our_own_export_is_no_error(sink: Sink, production: None) -> None:
    sink.answers = [status(500)]
    configure(sink)
    before = wk.error_stats().total
    capture()
    wk.flush()
    logging.getLogger("watchkeeper").warning("failed", exc_info=ValueError())
    assert wk.error_stats().total == before + 1


def test_two_servers_serve_two_clients() -> None:
    with serving() as one, serving() as other:
        configure(one)
        capture()
        configure(other)
        capture()
        wk.shutdown()
        assert len(events(one)) == len(events(other)) == 1
