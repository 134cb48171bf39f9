from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.applications import Starlette

from support.prometheus_api import Api, refusal_of
from watchkeeper_server.api.asking import MAX_AT_ONCE
from watchkeeper_server.model.errors import StoreBusyError, StoreTimeoutError
from watchkeeper_server.model.patience import asker

CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "Accept, Authorization, Content-Type, Origin",
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-expose-headers": "Date",
}
LONG = f'"{"x" * 2_000}"'


@pytest.mark.parametrize(
    ("accept", "compressed"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5, br", True),
        ("br,gzip", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, identity", False),
        ("identity", False),
        ("x-gzip", False),
        ("", False),
    ],
)
async def test_an_answer_is_compressed_for_those_who_want_it(api: Api, accept: str, compressed: bool) -> None:
    request = api.client.build_request(
        "GET", "/api/v1/format_query", params={"query": LONG}, headers={"Accept-Encoding": accept}
    )
    answer = await api.client.send(request, stream=True)
    raw = b"".join([part async for part in answer.aiter_raw()])
    assert ("content-encoding" in answer.headers) is compressed
    assert int(answer.headers["content-length"]) == len(raw)
    assert b'"status":"success"' in (gzip.decompress(raw) if compressed else raw)
    assert "Accept-Encoding" in answer.headers["vary"]


async def test_a_short_answer_is_not_worth_compressing(api: Api) -> None:
    answer = await api.get("/api/v1/query", query="1", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("path", ["/api/v1/query?query=1", "/api/v1/query", "/api/v1/nothing", "/federate"])
async def test_scripts_of_any_site_may_read_answers_and_refusals(api: Api, path: str) -> None:
    answer = await api.client.get(path, headers={"Origin": "https://grafana.example"})
    assert CORS.items() <= answer.headers.items()
    assert "Origin" in answer.headers["vary"]
    answer = await api.client.get(path)
    assert not CORS.keys() & answer.headers.keys()


async def test_a_browser_that_asks_first_is_told_that_it_may(api: Api) -> None:
    for path in ("/api/v1/query", "/api/v1/label/job/values", "/api/v1/nothing"):
        answer = await api.client.options(path, headers={"Origin": "https://grafana.example"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert CORS.items() <= answer.headers.items()


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/", "/api/v1/label//values", "/api/v1/status", "/other"])
async def test_where_there_is_nothing_the_refusal_has_the_usual_form(api: Api, path: str) -> None:
    assert refusal_of(await api.client.get(path)) == (404, "not_found", f"there is nothing at {path}")


async def test_a_method_that_is_not_taken_is_refused_with_those_that_are(api: Api) -> None:
    answer = await api.client.delete("/api/v1/query")
    assert refusal_of(answer) == (405, "bad_data", "/api/v1/query does not take DELETE")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


async def test_only_the_head_can_be_asked_for(api: Api) -> None:
    answer = await api.client.head("/api/v1/query", params={"query": "1"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


class Slow:
    """Queries that wait to be let go; `begun` counts those that do, `ended` those that have been."""

    def __init__(self, api: Api) -> None:
        self.go, self.begun, self.ended = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)
        instant = api.queries.instant

        def wait(*arguments: Any, **limits: Any) -> Any:
            self.begun.release()
            assert self.go.wait(10)
            try:
                return instant(*arguments, **limits)
            finally:
                self.ended.release()

        api.queries.instant = wait  # type: ignore[method-assign]

    async def wait_begun(self, count: int = 1) -> None:
        for _ in range(count):
            assert await asyncio.to_thread(self.begun.acquire, timeout=10)

    async def wait_ended(self) -> None:
        assert await asyncio.to_thread(self.ended.acquire, timeout=10)


class Visitor:
    """A client at the level of ASGI, who can hang up."""

    def __init__(self, app: Starlette, path: str = "/api/v1/query", query: bytes = b"query=1") -> None:
        self.sent: list[MutableMapping[str, Any]] = []
        self._left = asyncio.Event()
        self._asked = False
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": [],
            "server": ("watchkeeper", 80),
            "scheme": "http",
            "http_version": "1.1",
            "root_path": "",
        }
        self.answered = asyncio.create_task(app(scope, self._receive, self._send))

    def hang_up(self) -> None:
        self._left.set()

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)


async def test_who_hangs_up_is_not_waited_for(api: Api) -> None:
    slow = Slow(api)
    visitor = Visitor(api.app)
    await slow.wait_begun()
    visitor.hang_up()
    await asyncio.wait_for(visitor.answered, 5)
    assert visitor.status == 499
    slow.go.set()


async def test_a_question_nobody_waits_for_any_more_is_never_asked(api: Api) -> None:
    slow = Slow(api)
    running = [Visitor(api.app) for _ in range(MAX_AT_ONCE)]
    await slow.wait_begun(MAX_AT_ONCE)
    waiting = [Visitor(api.app, query=b"query=2") for _ in range(20)]
    await asyncio.sleep(0.01)
    for visitor in waiting:
        visitor.hang_up()
    await asyncio.wait_for(asyncio.gather(*(visitor.answered for visitor in waiting)), 5)
    slow.go.set()
    await asyncio.wait_for(asyncio.gather(*(visitor.answered for visitor in running)), 5)
    assert [visitor.status for visitor in running] == [200] * MAX_AT_ONCE
    assert {call[1] for call in api.queries.asked} == {"1"}


async def test_who_hangs_up_leaves_his_place_taken_until_the_work_is_done(api: Api) -> None:
    slow = Slow(api)
    gone = [Visitor(api.app) for _ in range(MAX_AT_ONCE)]
    await slow.wait_begun(MAX_AT_ONCE)
    for visitor in gone:
        visitor.hang_up()
    await asyncio.wait_for(asyncio.gather(*(visitor.answered for visitor in gone)), 5)
    following = Visitor(api.app)
    await asyncio.sleep(0.02)
    assert not slow.begun.acquire(blocking=False)
    slow.go.set()
    await asyncio.wait_for(following.answered, 5)
    assert following.status == 200


async def test_what_runs_for_someone_who_hangs_up_is_told_to_stop(api: Api) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def run(*_: Any, **__: Any) -> Any:
        who = asker()
        assert who is not None
        with who.stopping_with(stopped.set):
            begun.set()
            assert stopped.wait(10)
        raise StoreBusyError("it was stopped")

    api.queries.instant = run  # type: ignore[method-assign]
    visitor = Visitor(api.app)
    assert await asyncio.to_thread(begun.wait, 10)
    assert not stopped.is_set()
    visitor.hang_up()
    await asyncio.wait_for(visitor.answered, 5)
    assert await asyncio.to_thread(stopped.wait, 5)


async def test_a_store_that_took_too_long_is_a_query_that_timed_out(api: Api) -> None:
    api.queries.error = StoreTimeoutError("Code: 159")
    answer = await api.get("/api/v1/query", query="1")
    assert refusal_of(answer) == (503, "timeout", "query timed out in expression evaluation")


async def test_slow_queries_do_not_keep_the_server_from_telling_of_itself(api: Api) -> None:
    slow = Slow(api)
    visitors = [Visitor(api.app) for _ in range(MAX_AT_ONCE)]
    await slow.wait_begun(MAX_AT_ONCE)
    assert await asyncio.wait_for(api.data("/api/v1/status/buildinfo"), 5)
    slow.go.set()
    await asyncio.wait_for(asyncio.gather(*(visitor.answered for visitor in visitors)), 5)


async def test_an_error_nobody_waits_for_is_not_left_lying_about(
    api: Api, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow(api)
    api.queries.error = ZeroDivisionError("nobody cares")
    visitor = Visitor(api.app)
    await slow.wait_begun()
    visitor.hang_up()
    await asyncio.wait_for(visitor.answered, 5)
    slow.go.set()
    await slow.wait_ended()
    await asyncio.sleep(0.02)
    assert "never retrieved" not in caplog.text
    assert not recwarn.list
