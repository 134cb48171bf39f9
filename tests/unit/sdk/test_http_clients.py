"""httpx, httpx2, requests, urllib3 and aiohttp against a real server in this process."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import httpx2
import pytest
import requests
import urllib3
from opentelemetry import propagate
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import watchkeeper as wk
from support.http_server import Server, answering
from support.ports import unused_port
from support.sdk import eventually, request
from watchkeeper import testing
from watchkeeper.context import bound_context
from watchkeeper.integrations import httpx as httpx_integration
from watchkeeper.integrations import outgoing
from watchkeeper.integrations.calls import MODEL, Call
from watchkeeper.integrations.outgoing import Operations
from watchkeeper.logging.options import LogOptions
from watchkeeper.metrics.declare import declarations
from watchkeeper.options import Options
from watchkeeper.testing import Captured


@pytest.fixture
def server() -> Iterator[Server]:
    with answering() as found:
        _before.clear()  # ports come again, and metrics count for the life of the process
        _before.update(_counted())
        yield found


@pytest.fixture(autouse=True)
def operations(monkeypatch: pytest.MonkeyPatch) -> Operations:
    """Labels that other tests have not used up."""
    fresh = Operations()
    monkeypatch.setattr(outgoing, "operations", fresh)
    return fresh


Send = Callable[..., Awaitable[int]]  # (method, url, headers=, content=) -> status; redirects are followed


async def with_httpx(method: str, url: str, **options: Any) -> int:
    with httpx.Client(follow_redirects=True, timeout=2) as client:
        return client.request(method, url, **options).status_code  # noqa: ASYNC212  # as applications do


async def with_httpx_async(method: str, url: str, **options: Any) -> int:
    async with httpx.AsyncClient(follow_redirects=True, timeout=2) as client:
        return (await client.request(method, url, **options)).status_code


async def with_httpx2(method: str, url: str, **options: Any) -> int:
    with httpx2.Client(follow_redirects=True, timeout=2) as client:
        return client.request(method, url, **options).status_code


async def with_httpx2_async(method: str, url: str, **options: Any) -> int:
    async with httpx2.AsyncClient(follow_redirects=True, timeout=2) as client:
        return (await client.request(method, url, **options)).status_code


async def with_requests(method: str, url: str, content: Any = None, **options: Any) -> int:
    with requests.Session() as session:
        return session.request(method, url, data=content, timeout=2, **options).status_code


async def with_urllib3(method: str, url: str, content: Any = None, **options: Any) -> int:
    with urllib3.PoolManager(retries=urllib3.Retry(5, connect=0)) as pool:
        return pool.request(method, url, body=content, timeout=2, **options).status


async def with_aiohttp(method: str, url: str, content: Any = None, **options: Any) -> int:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as session,
        session.request(method, url, data=content, **options) as response,
    ):
        return response.status


EACH = pytest.mark.parametrize(
    "send",
    [with_httpx, with_httpx_async, with_httpx2, with_httpx2_async, with_requests, with_urllib3, with_aiohttp],
    ids=lambda send: send.__name__.removeprefix("with_"),
)


_before: dict[tuple[str, ...], float] = {}


def calls(service: str, operation: str, status: str) -> float:
    """How many were counted since the server started."""
    kind = ("calls", service, operation, status)
    return _counted().get(kind, 0.0) - _before.get(kind, 0.0)


def durations(service: str, operation: str) -> tuple[float, float]:
    """How many, and how many seconds in all."""
    kinds = ("count", service, operation), ("sum", service, operation)
    count, total = (_counted().get(kind, 0.0) - _before.get(kind, 0.0) for kind in kinds)
    return count, total


def _counted() -> dict[tuple[str, ...], float]:
    names = {"external_api_calls_total": "calls"}
    names |= {f"external_api_duration_seconds_{kind}": kind for kind in ("count", "sum")}
    return {
        (
            names[sample.name],
            *(sample.labels[label] for label in ("service", "operation", "status") if label in sample.labels),
        ): sample.value
        for family in declarations.registry.collect()
        for sample in family.samples
        if sample.name in names
    }


# Any client


@EACH
async def test_a_request_is_a_client_span_that_its_server_is_below(seen: Captured, server: Server, send: Send) -> None:
    with wk.span("work") as work:
        assert await send("POST", f"{server.url}/orders/7?page=2", content=b"1") == 200
    span = seen.span("POST")
    assert (span.kind, span.parent_id) == (SpanKind.CLIENT, work.span_id)  # type: ignore[attr-defined]
    assert span.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": urlsplit(server.url).port,
        "url.full": f"{server.url}/orders/7?page=2",
    }
    assert span.status_code is StatusCode.UNSET
    assert server.headers()["traceparent"] == f"00-{span.trace_id:032x}-{span.span_id:016x}-01"
    assert server.requests[-1][3] == b"1"


@EACH
async def test_a_request_is_counted_with_its_status_and_a_bounded_operation(
    seen: Captured, server: Server, send: Send
) -> None:
    for number in range(2):
        await send("GET", f"{server.url}/orders/{number}")
    service, operation = server.authority, "GET /orders/{id}"
    assert calls(service, operation, "200") == 2
    assert durations(service, operation)[0] == 2


@EACH
@pytest.mark.parametrize("status", [404, 503])
async def test_an_answer_from_400_upwards_is_a_failure(seen: Captured, server: Server, send: Send, status: int) -> None:
    assert await send("GET", f"{server.url}/status/{status}") == status
    span = seen.span("GET")
    assert span.attributes["error.type"] == str(status)
    assert span.attributes["http.response.status_code"] == status
    assert span.status_code is StatusCode.ERROR
    assert not span.events
    assert calls(server.authority, "GET /status/{id}", str(status)) == 1


@EACH
async def test_a_refused_connection_is_an_error_that_goes_on_to_the_caller(seen: Captured, send: Send) -> None:
    port = unused_port()
    with pytest.raises(Exception, match=r"(?i)connect") as raised:
        await send("GET", f"http://127.0.0.1:{port}/")
    span = seen.span("GET")
    kind = type(raised.value)
    assert span.attributes["error.type"] == f"{kind.__module__}.{kind.__qualname__}"
    assert span.status_code is StatusCode.ERROR
    assert "http.response.status_code" not in span.attributes
    assert calls(f"127.0.0.1:{port}", "GET /", "error") >= 1


@EACH
async def test_the_applications_own_headers_are_never_overwritten(seen: Captured, server: Server, send: Send) -> None:
    own = {
        "traceparent": f"00-{1:032x}-{2:016x}-01",
        "Baggage": "mine=1",
        "x-request-id": "mine",
        "X-Correlation-Id": "mine too",
        "X-Other": "kept",
    }
    given = dict(own)
    await _in_a_request(send, server, headers=own)
    assert own == given
    sent = server.headers()
    assert {name: sent[name.lower()] for name in own} == own
    assert "tracestate" not in sent


@EACH
async def test_ids_of_the_request_being_served_are_sent_on(seen: Captured, server: Server, send: Send) -> None:
    await _in_a_request(send, server)
    sent = server.headers()
    assert sent["x-request-id"] == "req-1"
    assert sent["x-correlation-id"] == "work-1"
    assert sent["baggage"] == "tenant=acme"
    assert sent["tracestate"] == "vendor=1"


async def _in_a_request(send: Send, server: Server, **options: Any) -> None:
    """Sends a request while one is served that has ids, state and baggage."""

    async def app(_scope: Any, _receive: Any, respond: Any) -> None:
        await send("GET", f"{server.url}/", **options)
        await respond({"type": "http.response.start", "status": 200, "headers": []})
        await respond({"type": "http.response.body", "body": b""})

    headers = {
        "x-request-id": "req-1",
        "x-correlation-id": "work-1",
        "baggage": "tenant=acme",
        "traceparent": f"00-{7:032x}-{8:016x}-01",
        "tracestate": "vendor=1",
    }
    response = await request(wk.instrument(app), headers=list(headers.items()))  # type: ignore[arg-type]
    assert response.status == 200


@EACH
async def test_a_correlation_id_that_is_bound_is_sent_and_one_that_breaks_a_header_is_not(
    seen: Captured, server: Server, send: Send
) -> None:
    with bound_context(correlation_id="import-7"):
        await send("GET", f"{server.url}/")
    assert server.headers()["x-correlation-id"] == "import-7"
    assert "x-request-id" not in server.headers()
    with bound_context(correlation_id="import\r\nx-admin: yes"):
        assert await send("GET", f"{server.url}/") == 200
    assert "x-correlation-id" not in server.headers()
    assert "x-admin" not in server.headers()


@EACH
async def test_secrets_in_urls_reach_no_span_and_no_metric(seen: Captured, server: Server, send: Send) -> None:
    hook = "T0kenOfAWebhook1234567890abc"
    address = server.url.replace("//", "//jo:hunter2@")
    await send("GET", f"{address}/hooks/{hook}?page=2&api_key=s3cret&sig=abc&X-Amz-Signature=def&q=a%20b")
    span = seen.span("GET")
    expected = f"{server.url}/hooks/REDACTED?page=2&api_key=REDACTED&sig=REDACTED&X-Amz-Signature=REDACTED&q=a%20b"
    assert str(span.attributes["url.full"]).replace("[redacted]", "REDACTED") == expected
    assert hook in server.requests[-1][1]
    assert "s3cret" in server.requests[-1][1]
    assert calls(server.authority, "GET /hooks/REDACTED", "200") == 1


@EACH
async def test_secrets_in_urls_are_not_in_errors_either(seen: Captured, send: Send) -> None:
    port = unused_port()
    secret = "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
    with pytest.raises(Exception):  # noqa: B017  # each client's own
        await send("GET", f"http://jo:hunter2@127.0.0.1:{port}/bot4711:{secret}/send?code=hunter2&page=2")
    (event,) = seen.span("GET").events or ()
    told = "".join(map(str, event.attributes.values()))
    assert "Error" in told
    assert secret not in told
    assert "hunter2" not in told


@EACH
async def test_what_is_suppressed_is_not_watched(seen: Captured, server: Server, send: Send) -> None:
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        await send("GET", f"{server.url}/")
    finally:
        detach(token)
    assert seen.spans == []
    assert "traceparent" not in server.headers()
    assert calls(server.authority, "GET /", "200") == 0


@EACH
async def test_a_client_closed_down_is_given_back(seen: Captured, server: Server, send: Send) -> None:
    wk.shutdown()
    await send("GET", f"{server.url}/")
    assert seen.spans == []
    assert "traceparent" not in server.headers()


@EACH
async def test_a_request_inside_of_a_language_models_call_is_a_span(seen: Captured, server: Server, send: Send) -> None:
    with Call("chat", MODEL):
        await send("POST", f"{server.url}/v1/chat")
    assert seen.span("POST").parent_id == seen.span("chat").span_id


@EACH
async def test_an_unsampled_request_says_so_and_is_counted(server: Server, send: Send) -> None:
    options = Options(traces=wk.TraceOptions(sampler="always_off"), logs=LogOptions(stream="off"))
    with testing.capture(options) as seen:
        await send("GET", f"{server.url}/")
    assert seen.spans == []
    assert server.headers()["traceparent"].endswith("-00")
    assert calls(server.authority, "GET /", "200") == 1


@EACH
async def test_other_propagators_write_their_headers(server: Server, send: Send) -> None:
    with testing.capture(Options(propagators=("b3",), logs=LogOptions(stream="off"))) as seen:
        await send("GET", f"{server.url}/")
    span = seen.span("GET")
    assert server.headers()["b3"] == f"{span.trace_id:032x}-{span.span_id:016x}-1"
    assert "traceparent" not in server.headers()


@EACH
async def test_a_propagator_that_fails_fails_no_request(
    seen: Captured, server: Server, send: Send, production: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(TraceContextTextMapPropagator):
        def inject(self, *_args: Any, **_more: Any) -> None:
            raise RuntimeError("no headers today")

    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", Failing())  # what `set_global_textmap` sets
    assert await send("GET", f"{server.url}/") == 200
    assert seen.span("GET").attributes["http.response.status_code"] == 200


@EACH
async def test_a_failure_of_ours_before_the_request_leaves_it_as_it_is(
    seen: Captured, server: Server, send: Send, production: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> Any:
        raise RuntimeError("no targets today")

    monkeypatch.setattr(outgoing, "target_of", fail)
    assert await send("POST", f"{server.url}/", content=b"once") == 200
    assert [body for _, _, _, body in server.requests] == [b"once"]


@pytest.mark.parametrize("send", [with_httpx, with_httpx_async, with_httpx2, with_requests, with_urllib3])
async def test_each_redirect_is_a_request_of_its_own(seen: Captured, server: Server, send: Send) -> None:
    assert await send("GET", f"{server.url}/redirect/2") == 200
    statuses = [span.attributes["http.response.status_code"] for span in seen.spans]
    assert statuses == [302, 302, 200]
    parents = [headers["traceparent"].split("-")[2] for _, _, headers, _ in server.requests]
    assert parents == [f"{span.span_id:016x}" for span in seen.spans]
    assert calls(server.authority, "GET /redirect/{id}", "302") == 2


async def test_aiohttps_redirects_are_one_span_with_their_number(seen: Captured, server: Server) -> None:
    assert await with_aiohttp("GET", f"{server.url}/redirect/2") == 200
    span = seen.span("GET")
    assert span.attributes["http.request.resend_count"] == 2
    assert span.attributes["http.response.status_code"] == 200


@EACH
async def test_a_method_that_http_does_not_know_is_other(seen: Captured, server: Server, send: Send) -> None:
    assert await send("BREW", f"{server.url}/pot") == 200
    attributes = seen.span("HTTP").attributes
    assert (attributes["http.request.method"], attributes["http.request.method_original"]) == ("_OTHER", "BREW")
    assert calls(server.authority, "_OTHER /pot", "200") == 1


# Bodies


@pytest.mark.parametrize("send", [with_httpx, with_httpx2, with_requests, with_urllib3])
async def test_a_body_read_from_another_server_has_spans_of_its_own(seen: Captured, server: Server, send: Send) -> None:
    def body() -> Iterator[bytes]:
        yield httpx.get(f"{server.url}/source").content
        yield requests.get(f"{server.url}/source", timeout=2).content

    assert await send("POST", f"{server.url}/target", content=body()) == 200
    assert server.requests[-1][3] == b"answeranswer"
    target = seen.span("POST")
    sources = [span for span in seen.spans if span.name == "GET"]
    assert [span.parent_id for span in sources] == [target.span_id] * 2


@pytest.mark.parametrize("send", [with_httpx_async, with_httpx2_async, with_aiohttp])
async def test_an_async_body_is_sent_once_and_whole(seen: Captured, server: Server, send: Send) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one,"
        await asyncio.sleep(0)
        yield b"two"

    assert await send("POST", f"{server.url}/target", content=body()) == 200
    assert server.requests[-1][3] == b"one,two"
    assert seen.span("POST").attributes["http.response.status_code"] == 200


def test_a_streamed_responses_span_ends_with_its_headers(seen: Captured, server: Server) -> None:
    with httpx.Client() as client, client.stream("POST", server.url, content=b"abc") as response:
        assert seen.span("POST").attributes["http.response.status_code"] == 200
        assert b"".join(response.iter_raw()) == b"abc"
    with requests.get(server.url, stream=True, timeout=2) as streamed:
        assert len(seen.spans) == 2
        assert streamed.content == b"answer"
    assert len(seen.spans) == 2


# Time


@pytest.mark.parametrize("send", [with_httpx_async, with_httpx2_async, with_aiohttp])
async def test_a_cancelled_request_is_counted_as_cancelled_and_no_failure(
    seen: Captured, server: Server, send: Send
) -> None:
    task = asyncio.create_task(send("GET", f"{server.url}/slow"))  # type: ignore[arg-type]
    await asyncio.to_thread(eventually, lambda: server.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    span = seen.span("GET")
    assert span.attributes["error.type"] == "asyncio.exceptions.CancelledError"
    assert span.status_code is StatusCode.UNSET
    assert calls(server.authority, "GET /slow", "cancelled") == 1


def test_timeouts_are_errors_by_their_names(seen: Captured, server: Server) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{server.url}/slow", timeout=0.05)
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{server.url}/slow", timeout=0.05)
    types = [span.attributes["error.type"] for span in seen.spans]
    assert types == ["httpx.ReadTimeout", "requests.exceptions.ReadTimeout"]
    assert calls(server.authority, "GET /slow", "error") == 2


async def test_aiohttps_timeouts_likewise(seen: Captured, server: Server) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            await session.get(f"{server.url}/slow", timeout=aiohttp.ClientTimeout(0.05))
    assert "Timeout" in str(seen.span("GET").attributes["error.type"])
    assert calls(server.authority, "GET /slow", "error") == 1


def test_a_calls_duration_is_the_time_to_its_headers(server: Server) -> None:
    clock = testing.FakeClock()
    with testing.capture(clock=clock.clock()) as seen:
        thread = threading.Thread(target=httpx.get, args=(f"{server.url}/slow",))
        thread.start()
        eventually(lambda: server.requests)
        clock.advance(0.75)
        server.go_on.set()
        thread.join()
        assert durations(server.authority, "GET /slow") == (1, pytest.approx(0.75))
    assert seen.span("GET").end_time - seen.span("GET").start_time == 750_000_000


# httpx


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_transports_that_stay_in_the_process_are_left_alone(seen: Captured, library: Any) -> None:
    transport = library.MockTransport(lambda _request: library.Response(200))
    with library.Client(transport=transport) as client:
        client.get("http://shop.example/")
    assert seen.spans == []


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_the_applications_request_stays_as_it_was(seen: Captured, server: Server, library: Any) -> None:
    with library.Client() as client:
        prepared = client.build_request("GET", server.url, headers={"X-Own": "1"})
        before = list(prepared.headers.raw)
        responses = [client.send(prepared) for _ in range(2)]
    assert prepared.headers.raw == before
    assert all(response.request is prepared for response in responses)
    parents = {headers["traceparent"] for _, _, headers, _ in server.requests}
    assert len(parents) == 2
    assert server.headers()["x-own"] == "1"


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_an_answer_to_a_challenge_is_a_request_of_its_own(seen: Captured, server: Server, library: Any) -> None:
    auth = library.DigestAuth("jo", "hunter2")
    assert library.get(f"{server.url}/digest", auth=auth).status_code == 200
    assert [span.attributes["http.response.status_code"] for span in seen.spans] == [401, 200]
    assert "hunter2" not in str([span.attributes for span in seen.spans])


def test_a_transport_of_the_applications_that_tries_again_has_a_span_for_each_try(
    seen: Captured, server: Server
) -> None:
    class Retrying(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            first = super().handle_request(request)
            if first.status_code != 503:
                return first
            first.close()
            return super().handle_request(request)

    server.failures = 1
    with httpx.Client(transport=Retrying()) as client:
        assert client.get(f"{server.url}/flaky").status_code == 200
    assert [span.attributes["http.response.status_code"] for span in seen.spans] == [503, 200]


def test_httpx2_under_httpxs_name_is_watched_once(seen: Captured, server: Server, monkeypatch: Any) -> None:
    httpx_integration.uninstall()
    monkeypatch.setitem(sys.modules, "httpx", httpx2)
    httpx_integration.install()
    httpx2.get(server.url)
    assert len(seen.spans) == 1


# requests and urllib3


def test_requests_own_objects_stay_as_they_were(seen: Captured, server: Server) -> None:
    with requests.Session() as session:
        prepared = session.prepare_request(requests.Request("GET", server.url))
        before = dict(prepared.headers)
        response = session.send(prepared)
        assert response.request is prepared
    assert dict(prepared.headers) == before
    port = unused_port()
    with requests.Session() as session:
        prepared = session.prepare_request(requests.Request("GET", f"http://127.0.0.1:{port}/"))
        with pytest.raises(requests.ConnectionError) as raised:
            session.send(prepared)
    assert raised.value.request is prepared


def test_requests_digest_answers_are_requests_of_their_own(seen: Captured, server: Server) -> None:
    auth = requests.auth.HTTPDigestAuth("jo", "hunter2")
    assert requests.get(f"{server.url}/digest", auth=auth, timeout=2).status_code == 200
    parents = [headers["traceparent"].split("-")[2] for _, _, headers, _ in server.requests]
    assert parents == [f"{span.span_id:016x}" for span in seen.spans]


@pytest.mark.parametrize("library", ["requests", "urllib3"])
def test_what_urllib3_tries_again_is_one_span_with_the_number(seen: Captured, server: Server, library: str) -> None:
    server.failures = 2
    again = urllib3.Retry(3, status_forcelist=[503], backoff_factor=0)
    if library == "requests":
        with requests.Session() as session:
            session.mount("http://", requests.adapters.HTTPAdapter(max_retries=again))
            assert session.get(f"{server.url}/flaky").status_code == 200
    else:
        with urllib3.PoolManager(retries=again) as pool:
            assert pool.request("GET", f"{server.url}/flaky").status == 200
    assert seen.span("GET").attributes["http.request.resend_count"] == 2
    assert calls(server.authority, "GET /flaky", "200") == 1


def test_a_pool_of_one_host_is_watched_like_any(seen: Captured, server: Server) -> None:
    port = urlsplit(server.url).port
    with urllib3.HTTPConnectionPool("127.0.0.1", port) as pool:
        own = {"X-Own": "1"}
        assert pool.urlopen("GET", "/orders/7", None, own).status == 200
        assert pool.request("GET", "/orders/8", headers=urllib3.HTTPHeaderDict({"X-Own": "2"})).status == 200
    assert own == {"X-Own": "1"}
    assert [span.attributes["url.full"] for span in seen.spans] == [f"{server.url}/orders/{n}" for n in (7, 8)]
    assert server.headers()["x-own"] == "2"


# aiohttp


async def test_an_answer_told_as_an_exception_is_that_answer(seen: Captured, server: Server) -> None:
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        with pytest.raises(aiohttp.ClientResponseError):
            await session.get(f"{server.url}/status/404")
    span = seen.span("GET")
    assert (span.attributes["error.type"], span.attributes["http.response.status_code"]) == ("404", 404)
    assert calls(server.authority, "GET /status/{id}", "404") == 1


async def test_a_middleware_of_aiohttp_may_make_up_an_answer_without_a_history(seen: Captured) -> None:
    made_up = aiohttp.ClientResponseError(None, None, status=429)  # type: ignore[arg-type]

    async def limit(_request: Any, _handler: Any) -> Any:
        raise made_up

    async with aiohttp.ClientSession(middlewares=[limit]) as session:
        with pytest.raises(aiohttp.ClientResponseError) as caught:
            await session.get("http://limited.example/")
    assert caught.value is made_up
    assert seen.span("GET").attributes["http.response.status_code"] == 429


async def test_a_sessions_base_and_the_calls_parameters_are_part_of_the_url(seen: Captured, server: Server) -> None:
    async with aiohttp.ClientSession(f"{server.url}/v1/", headers={"X-Own": "1"}) as session:
        async with session.get("orders/7", params={"page": 2}, headers={"X-Mine": "2"}) as response:
            assert response.status == 200
        headers = iter([("X-Mine", "3")])
        async with session.get("orders/7", headers=headers) as response:  # type: ignore[arg-type]
            assert response.status == 200
    first, second = seen.spans
    assert first.attributes["url.full"] == f"{server.url}/v1/orders/7?page=2"
    assert second.attributes["url.full"] == f"{server.url}/v1/orders/7"
    assert [path for _, path, _, _ in server.requests] == ["/v1/orders/7?page=2", "/v1/orders/7"]
    assert [(sent["x-own"], sent["x-mine"]) for _, _, sent, _ in server.requests] == [("1", "2"), ("1", "3")]


# Beside OpenTelemetry's own


@pytest.fixture
def contrib(seen: Captured) -> Iterator[None]:
    HTTPXClientInstrumentor().instrument(skip_dep_check=True)
    yield
    HTTPXClientInstrumentor().uninstrument()


def test_where_opentelemetrys_own_is_switched_on_there_is_one_span_and_the_count(
    seen: Captured, server: Server, contrib: None
) -> None:
    httpx.get(f"{server.url}/")
    (span,) = seen.spans
    assert span.scope.name == "opentelemetry.instrumentation.httpx"
    assert server.headers()["traceparent"].split("-")[2] == f"{span.span_id:016x}"
    assert calls(server.authority, "GET /", "200") == 1
