"""What HTTP clients share: labels of a bounded number, URLs without secrets, headers."""

from __future__ import annotations

from opentelemetry import baggage, propagate, trace
from opentelemetry.context import get_current
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

import watchkeeper as wk
from watchkeeper import testing
from watchkeeper.integrations.calls import HTTP, Call
from watchkeeper.integrations.outgoing import (
    MOST_PATHS,
    MOST_SERVICES,
    Operations,
    begin,
    operation_path,
    prepared_of,
    target_of,
)
from watchkeeper.integrations.part import requests
from watchkeeper.logging.options import LogOptions, RedactionOptions
from watchkeeper.logging.redaction import Redaction
from watchkeeper.options import Options
from watchkeeper.testing import Captured
from watchkeeper.tracing.propagation import HeaderWriter


def test_paths_are_told_apart_by_their_words_not_by_what_they_name() -> None:
    table = {
        "/v1/chat/completions": "/v1/chat/completions",
        "/orders/7": "/orders/{id}",
        "/orders/0b9fa9a6-1c5e-4b3c-9df0-9d4f5d3c2b1a/items": "/orders/{uuid}/items",
        "/users/jo@shop.example": "/users/{id}",
        "/v1/charges/ch_3MmlLrLkdIwHu7ix": "/v1/charges/{id}",
        "/files/Jahres%20bericht": "/files/{id}",
        "/oauth2/token": "/oauth2/token",
        "": "/",
        f"/{'word' * 20}/x": "/{id}/x",
    }
    assert {path: operation_path(path) for path in table} == table
    assert operation_path("/word" * 50) == ""


def test_an_api_with_ever_new_paths_is_counted_by_its_methods_in_the_end() -> None:
    found = Operations()
    seen = {found.labels("GET", "api.example", f"/users/{chr(97 + n // 26)}{chr(97 + n % 26)}") for n in range(600)}
    assert len(seen) == MOST_PATHS + 1
    assert ("api.example", "GET") in seen
    assert found.labels("GET", "other.example", "/users/aa") == ("other.example", "GET /users/aa")


def test_a_crawler_of_ever_new_services_makes_a_bounded_number_of_them() -> None:
    found = Operations()
    services = {found.labels("GET", f"{n}.example", "/")[0] for n in range(1_000)}
    assert len(services) == MOST_SERVICES + 1
    assert found.labels("GET", "0.example", "/") == ("0.example", "GET /")


def test_a_url_is_taken_apart_as_it_is_and_a_broken_one_is_not() -> None:
    redaction = Redaction(RedactionOptions())
    secure = target_of(redaction, "https://api.example/v1?token=1&empty=#part")
    assert secure[:5] == ("https://api.example/v1?token=REDACTED&empty=", "api.example", 443, "api.example", "/v1")
    six = target_of(redaction, "http://[::1]:8080/")
    assert (six.address, six.port, six.service) == ("::1", 8080, "[::1]:8080")
    broken = target_of(redaction, "http://[::1:8080/")
    assert (broken.full, broken.address, broken.service) == ("", "", "unknown")
    telegram = target_of(
        redaction, "https://api.telegram.example/bot123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/sendMessage"
    )
    assert telegram.path == "/REDACTED/sendMessage"


def test_a_url_that_is_a_mistake_tells_no_password() -> None:
    redaction = requests.settings.redaction
    for url in ("jo:hunter2@api.example/x", "http:jo:hunter2@api.example/x", "//jo:hunter2@api.example/x"):
        found = target_of(redaction, url)
        assert "hunter2" not in " ".join(map(str, found[:5]))
        assert any("hunter2" in secret and "hunter2" not in shown for secret, shown in found.hidden)
    assert "hunter2" not in target_of(redaction, "http://api.example/?api%5Fkey=hunter2&%74oken=hunter2").full


def test_long_urls_are_not_remembered(seen: Captured) -> None:
    prepared_of.cache_clear()
    short, long = begin("GET", "http://api.example/"), begin("GET", "http://api.example/?form=" + "x" * 5_000)
    assert short is not None
    assert long is not None
    assert long.span.attributes["url.full"].startswith("http://api.example/?form=xxx")  # type: ignore[attr-defined]
    assert prepared_of.cache_info().currsize == 1
    for outgoing in (short, long):
        outgoing.end()


def test_names_that_the_options_call_secret_are_so_in_urls() -> None:
    options = Options(logs=LogOptions(stream="off", redaction=RedactionOptions(keys=("voucher",))))
    with testing.capture(options):
        target = target_of(requests.settings.redaction, "http://shop.example/?voucher=free&x=1")
    assert target.full == "http://shop.example/?voucher=REDACTED&x=1"


def test_the_short_way_of_writing_headers_writes_what_the_propagators_would(seen: Captured) -> None:
    writer = HeaderWriter()
    state = TraceState([("vendor", "1")])
    remote = trace.NonRecordingSpan(SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(1), trace_state=state))
    with wk.span("plain"):
        plain = get_current()
    with_baggage = baggage.set_baggage("tenant", "acme", plain)
    below = trace.set_span_in_context(Call("GET", HTTP, context=trace.set_span_in_context(remote)).span)
    nothing = trace.set_span_in_context(trace.INVALID_SPAN)
    for context in (plain, with_baggage, below, nothing, trace.set_span_in_context(remote)):
        expected: dict[str, str] = {}
        propagate.inject(expected, context)
        assert writer.headers(context) == expected
