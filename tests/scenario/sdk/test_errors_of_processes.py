"""Programs that fail: what of it reaches a Sentry and Watchkeeper, and what the program itself notices."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sentry_sdk.envelope import Envelope

from support.programs import ended
from support.sdk import Sink, attributes, serving, status

BEGIN = "import watchkeeper as wk\nwk.configure()\n"


@pytest.fixture
def sink() -> Iterator[Sink]:
    with serving() as found:
        yield found


def run(sink: Sink, folder: Path, program: str, **environment: str) -> Any:
    (folder / "shop.py").write_text(BEGIN + textwrap.dedent(program))
    dsn = f"{sink.url.replace('://', '://public@')}/7"
    return ended([sys.executable, "shop.py"], folder, sink.url, SENTRY_DSN=dsn, **environment)


def told(sink: Sink) -> list[dict[str, Any]]:
    found = [Envelope.deserialize(body).get_event() for body in sink.bodies("/api/7/envelope/")]
    return [dict(event) for event in found if event is not None]


def kinds(sink: Sink) -> list[tuple[str, str]]:
    values = [event["exception"]["values"][-1] for event in told(sink)]
    return [(value["type"], value["mechanism"]["type"]) for value in values]


def test_a_program_that_dies_of_an_exception_tells_of_it_and_dies_as_it_would(sink: Sink, tmp_path: Path) -> None:
    program = """
        def charge(amount):
            with wk.bound_context(user_id="u-7"):
                raise ValueError(f"cannot charge {amount}")
        charge(7)
    """
    done = run(sink, tmp_path, program)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("ValueError: cannot charge 7\n")
    (event,) = told(sink)
    assert (event["level"], kinds(sink)) == ("fatal", [("ValueError", "excepthook")])
    frame = event["exception"]["values"][0]["stacktrace"]["frames"][-1]
    assert (frame["module"], frame["function"], frame["in_app"]) == ("__main__", "charge", True)
    assert frame["context_line"].strip().startswith("raise ValueError")
    (record,) = sink.records()
    assert attributes(record)["error.id"] == event["event_id"]
    assert record.severity_text == "critical"


def test_a_program_that_is_told_to_end_tells_of_no_error(sink: Sink, tmp_path: Path) -> None:
    assert run(sink, tmp_path, "raise SystemExit(3)").returncode == 3
    assert run(sink, tmp_path, "raise KeyboardInterrupt").returncode != 0
    assert told(sink) == []


def test_threads_tasks_and_finalizers_that_fail_are_told(sink: Sink, tmp_path: Path) -> None:
    program = """
        import asyncio, gc, threading

        def die():
            raise LookupError("thread")

        class Connection:
            def __del__(self):
                raise OSError("finalizer")

        async def fail():
            raise ArithmeticError("task")

        async def main():
            wk.configure()  # a program that configures itself before its loop runs does it again, or is a server
            asyncio.create_task(fail())
            await asyncio.sleep(0)
            gc.collect()
            await asyncio.sleep(0)

        thread = threading.Thread(target=die)
        thread.start()
        thread.join()
        Connection()
        asyncio.run(main())
    """
    done = run(sink, tmp_path, program)
    assert done.returncode == 0
    assert set(kinds(sink)) == {("LookupError", "thread"), ("ArithmeticError", "asyncio"), ("OSError", "unraisable")}
    assert len(told(sink)) == 3
    assert done.stderr.count("LookupError: thread") == 1
    assert done.stderr.count("OSError: finalizer") == 1


def test_a_request_that_fails_is_told_once_and_its_servers_line_says_which_error_it_is(
    sink: Sink, tmp_path: Path
) -> None:
    program = """
        import threading, time, urllib.request
        import uvicorn
        from fastapi import FastAPI

        app = FastAPI()

        @app.get("/orders/{order_id}")
        def order(order_id: int):
            raise LookupError("gone")

        wk.instrument(app)
        server = uvicorn.Server(uvicorn.Config(app, port=0))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        for number in (1, 2):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/orders/{number}")
            except OSError:
                pass
        server.should_exit = True
        thread.join()
    """
    run(sink, tmp_path, program)
    first, repeated = told(sink)
    assert kinds(sink)[0] == ("LookupError", "request")
    assert first["transaction"] == "GET /orders/{order_id}"
    assert repeated["contexts"]["watchkeeper"]["repeats"] == 1
    lines = [
        attributes(record) for record in sink.records() if record.body.string_value.startswith("Exception in ASGI")
    ]
    assert [line["error.id"] for line in lines] == [first["event_id"]] * 2
    assert {line["error.fingerprint"] for line in lines} == {first["contexts"]["watchkeeper"]["fingerprint"]}
    of_the_first = [record for record in sink.records() if attributes(record).get("error.id") == first["event_id"]]
    assert len(of_the_first) == 2


def test_children_tell_of_their_own_errors(sink: Sink, tmp_path: Path) -> None:
    program = """
        import multiprocessing, os

        def fail(name):
            raise ValueError(name)

        if __name__ == "__main__":
            try:
                fail("parent")
            except ValueError as error:
                wk.capture_exception(error)
            context = multiprocessing.get_context("fork")
            worker = context.Process(target=fail, args=("multiprocessing",))
            worker.start()
            worker.join()
            child = os.fork()
            if not child:
                fail("fork")
            os.waitpid(child, 0)
    """
    done = run(sink, tmp_path, program)
    assert done.returncode == 0, done.stderr
    values = {event["exception"]["values"][-1]["value"] for event in told(sink)}
    assert {"parent", "fork"} <= values
    assert len({event["event_id"] for event in told(sink)}) == len(told(sink))


def test_what_fails_at_the_very_end_harms_nobody(sink: Sink, tmp_path: Path) -> None:
    program = """
        import sys

        class Late:
            def __del__(self):
                wk.get_logger("x").error("late", exc_info=ValueError("late"))
                wk.capture_exception(ValueError("later"))
                raise OSError("last")

        late = Late()
        sys.late = late
    """
    done = run(sink, tmp_path, program)
    assert done.returncode == 0
    assert "watchkeeper" not in done.stderr.replace(str(tmp_path), "").replace("shop.py", "")


def test_a_sentry_that_is_away_costs_nothing_but_the_event(sink: Sink, tmp_path: Path) -> None:
    sink.answers = [status(503)]
    done = run(sink, tmp_path, "raise ValueError('no')")
    assert done.returncode == 1
    assert "ValueError: no\n" in done.stderr
    assert "watchkeeper drops errors (http_503)" in done.stderr


def test_beside_sentry_sdk_and_its_integrations_each_error_is_told_once(sink: Sink, tmp_path: Path) -> None:
    program = f"""
        import logging, threading
        import sentry_sdk
        # Those of libraries are only slow to import: everything that is installed here.
        sentry_sdk.init("{sink.url.replace("://", "://public@")}/8", auto_enabling_integrations=False)

        def fail(name):
            raise ValueError(name)

        try:
            fail("logged")
        except ValueError:
            logging.getLogger("shop").exception("it failed")
        try:
            fail("captured")
        except ValueError as error:
            wk.capture_exception(error, fingerprint="captured")
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        raise LookupError("unhandled")
    """
    run(sink, tmp_path, program)
    assert told(sink) == []
    theirs = [Envelope.deserialize(body).get_event() for body in sink.bodies("/api/8/envelope/")]
    values = [event["exception"]["values"][-1]["value"] for event in theirs if event is not None]
    assert sorted(values) == ["captured", "division by zero", "logged", "unhandled"]
