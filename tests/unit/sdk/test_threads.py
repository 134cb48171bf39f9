"""What runs in a thread belongs to the request and the span it was started from: said there, traced there."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

import watchkeeper as wk
from support.sdk import request
from watchkeeper.integrations import executors, threads
from watchkeeper.testing import Captured

log = wk.get_logger("app")


@wk.traced(name="inner")
def work(word: str = "said in a thread") -> str:
    log.info(word)
    return word


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # its thread is started outside of any request
        yield pool


def in_thread(thread: threading.Thread) -> None:
    thread.start()
    thread.join()


async def in_executor(pool: ThreadPoolExecutor | None, function: Callable[..., Any]) -> None:
    await asyncio.get_running_loop().run_in_executor(pool, function)


class Worker(threading.Thread):
    def run(self) -> None:
        work()


WAYS: dict[str, Callable[[ThreadPoolExecutor], Any]] = {
    "submit": lambda pool: pool.submit(work).result(),
    "submit with arguments": lambda pool: pool.submit(work, word="said in a thread").result(),
    "map": lambda pool: list(pool.map(work, ["said in a thread"])),
    "run_in_executor": lambda pool: in_executor(pool, work),
    "the default executor": lambda _pool: in_executor(None, work),
    "to_thread": lambda _pool: asyncio.to_thread(work),
    "run_in_threadpool": lambda _pool: run_in_threadpool(work),
    "a copied context": lambda pool: pool.submit(contextvars.copy_context().run, work).result(),
    "a thread": lambda _pool: in_thread(threading.Thread(target=work)),
    "a subclass": lambda _pool: in_thread(Worker()),
    "a timer": lambda _pool: in_thread(threading.Timer(0.001, work)),
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_runs_in_a_thread_belongs_to_the_request_and_span_that_started_it(
    way: str, pool: ThreadPoolExecutor, seen: Captured
) -> None:
    app = FastAPI()

    @app.get("/")
    async def page() -> None:
        with wk.span("outer"):
            done = WAYS[way](pool)
            if done is not None and not isinstance(done, str | list):
                await done

    wk.instrument(app)
    await request(app, headers=[("x-request-id", "r-7")])
    inner, outer, served = seen.spans
    assert (inner.name, outer.name, served.name) == ("inner", "outer", "GET /")
    assert (inner.parent_id, inner.trace_id) == (outer.span_id, served.trace_id)
    assert [(record.request_id, record.span_id) for record in seen.records] == [("r-7", inner.span_id)]


def test_a_pools_thread_keeps_nothing_of_the_request_that_started_it(seen: Captured) -> None:
    with ThreadPoolExecutor(1) as pool:
        with wk.span("outer"), wk.bound_context(tenant_id="acme"):
            pool.submit(log.info, "within").result()
        pool.submit(log.info, "after").result()
    within, after = seen.records
    assert (within.trace_id, within.fields) == (seen.spans[0].trace_id, {"tenant_id": "acme"})
    assert (after.trace_id, after.fields) == (0, {})


def test_variables_of_the_application_go_where_python_lets_them(pool: ThreadPoolExecutor, seen: Captured) -> None:
    own: contextvars.ContextVar[str] = contextvars.ContextVar("own", default="default")
    got: list[str] = []
    with wk.span("outer"):
        own.set("set")
        got.append(pool.submit(own.get).result())
        in_thread(threading.Thread(target=lambda: got.append(own.get())))
    assert got == ["default", "default"]


def test_what_a_task_raises_returns_and_is_cancelled_by_is_unchanged(pool: ThreadPoolExecutor, seen: Captured) -> None:
    def fails(*, code: int) -> None:
        raise ValueError(code)

    with wk.span("outer"):
        with pytest.raises(ValueError, match="7"):
            pool.submit(fails, code=7).result()
        with pytest.raises(TypeError, match="submit"):
            pool.submit()  # type: ignore[call-arg]
        hold = threading.Event()
        pool.submit(hold.wait)
        waiting: Future[str] = pool.submit(work)
        assert waiting.cancel()
        hold.set()
    assert [span.name for span in seen.spans] == ["outer"]


def test_the_failure_of_a_thread_is_told_in_its_context(seen: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda failed: log.error("died", error=str(failed.exc_value)))

    def fails() -> None:
        raise ValueError("no")

    with wk.span("outer") as outer:
        in_thread(threading.Thread(target=fails))
    assert seen.records[0].trace_id == outer.get_span_context().trace_id


def test_a_thread_that_is_over_is_freed_at_once_and_keeps_its_own_run(seen: Captured) -> None:
    thread = threading.Thread(target=work)
    with wk.span("outer"):
        in_thread(thread)
    assert "run" not in vars(thread)
    forgotten = weakref.ref(thread)
    gc.disable()
    try:
        del thread
        assert forgotten() is None
    finally:
        gc.enable()


def test_a_thread_whose_run_cannot_be_set_runs(seen: Captured) -> None:
    class Fixed(threading.Thread):
        @property
        def run(self) -> Any:
            return work

    with wk.span("outer"):
        in_thread(Fixed())
    assert [record.message for record in seen.records] == ["said in a thread"]


def test_uninstalled_threads_are_pythons_own(pool: ThreadPoolExecutor, seen: Captured) -> None:
    executors.uninstall()
    threads.uninstall()
    assert "FunctionWrapper" not in f"{type(ThreadPoolExecutor.submit)}{type(threading.Thread.start)}"
    with wk.span("outer"):
        pool.submit(work).result()
        in_thread(threading.Thread(target=work))
    assert len({span.trace_id for span in seen.spans}) == 3


def test_a_thread_that_could_not_be_started_has_its_own_run_again(
    seen: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = threading.Thread(target=work)
    with monkeypatch.context() as refusing:

        def refuses(*_args: Any, **_more: Any) -> None:
            raise RuntimeError("can't start new thread")

        refusing.setattr(threading, "_start_new_thread", refuses)
        with wk.span("too early"), pytest.raises(RuntimeError, match="new thread"):
            thread.start()
    assert "run" not in vars(thread)
    with wk.span("outer"):
        in_thread(thread)
    by_name = {span.name: span for span in seen.spans}
    assert by_name["inner"].trace_id == by_name["outer"].trace_id


BESIDE_SENTRY = """
import asyncio, json, sys, threading
from concurrent.futures import ThreadPoolExecutor
import httpx, sentry_sdk
from fastapi import FastAPI
import watchkeeper as wk
from watchkeeper.testing import capture

class Worker(threading.Thread):
    def run(self):
        log.info("a subclass")

def thread(thread):
    thread.start()
    thread.join()

async def asked():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.example") as client:
        return (await asyncio.wait_for(client.get("/"), 10)).status_code

app = FastAPI()

@app.get("/")
def page():
    with wk.span("outer"):
        thread(threading.Thread(target=log.info, args=("a thread",)))
        thread(Worker())
        thread(threading.Timer(0.001, log.info, ["a timer"]))
        ThreadPoolExecutor(1).submit(log.info, "a pool").result()

log = wk.get_logger("app")
if sys.argv[1] == "before":
    sentry_sdk.init()
with capture() as seen:
    if sys.argv[1] == "after":
        sentry_sdk.init()
    wk.instrument(app)
    status = asyncio.run(asked())
    outer = next(span for span in seen.spans if span.name == "outer")
    said = {record.message: record.span_id == outer.span_id for record in seen.records if record.logger == "app"}
print(json.dumps([status, said]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_threads_run_and_keep_their_span_beside_sentry_sdk(when: str) -> None:
    asked = [sys.executable, "-c", BESIDE_SENTRY, when]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    kept = dict.fromkeys(("a thread", "a subclass", "a timer", "a pool"), True)
    assert json.loads(answer.stdout.splitlines()[-1]) == [200, kept]
