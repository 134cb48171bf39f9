from __future__ import annotations

import contextvars
import io
import json
import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog

import watchkeeper as wk
from support.sdk import dropped, eventually
from watchkeeper import LogOptions, Options
from watchkeeper.context import REQUEST_KEY, Context, attach, detach, usable_id
from watchkeeper.export.otlp.logs import LogEncoder
from watchkeeper.integrations import stdlib_logging
from watchkeeper.logging.console import ConsoleLines
from watchkeeper.logging.levels import LEVELS, level_of, severity_of
from watchkeeper.logging.line import ECS, LOGSTASH, RESERVED, JsonLines, Timestamps
from watchkeeper.logging.logger import Logger
from watchkeeper.logging.pipeline import Pipeline, pipeline
from watchkeeper.logging.record import Record
from watchkeeper.logging.writer import MOST_RECORDS, STALLED_SECONDS, Writer
from watchkeeper.options import ServiceOptions
from watchkeeper.testing import Captured, capture
from watchkeeper.values import MAX_TEXT

SERVICE = ServiceOptions(name="shop", version="1.2", environment="prod")


class Lines:
    """A logger whose lines can be read back."""

    def __init__(self) -> None:
        self.stream = io.BytesIO()
        self.writer = Writer(self.stream, JsonLines(SERVICE), flush_seconds=0.01)
        self.pipeline = Pipeline()
        self.pipeline.wire(10, [self.writer], None)
        self.log = Logger("shop.orders", None, self.pipeline)

    def read(self) -> list[dict[str, object]]:
        self.writer.flush(5)
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def one(self) -> dict[str, object]:
        (line,) = self.read()
        return line


@pytest.fixture
def lines() -> Lines:
    return Lines()


def test_a_line_says_what_when_who_and_where(lines: Lines) -> None:
    lines.log.info("order placed", order_id=7, paid=True)
    line = lines.one()
    assert list(line)[:3] == ["timestamp", "level", "message"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])
    assert (line["level"], line["message"], line["logger"]) == ("info", "order placed", "shop.orders")
    assert (line["service"], line["version"], line["environment"]) == ("shop", "1.2", "prod")
    assert {"host", "pid"} <= set(line)
    assert (line["order_id"], line["paid"]) == (7, True)
    assert "trace_id" not in line


def test_timestamps_are_exact_across_seconds_and_threads_formats() -> None:
    stamps = Timestamps()
    assert stamps.format(1_700_000_000_999_999_999) == b"2023-11-14T22:13:20.999999Z"
    assert stamps.format(1_700_000_001_000_000_000) == b"2023-11-14T22:13:21.000000Z"
    assert stamps.format(0) == b"1970-01-01T00:00:00.000000Z"


def test_a_line_within_a_span_carries_its_ids(lines: Lines) -> None:
    with capture(), wk.span("s") as span:
        lines.log.info("inside")
    line = lines.one()
    assert (line["trace_id"], line["span_id"]) == (f"{span.trace_id:032x}", f"{span.span_id:016x}")


def test_bound_fields_are_added_and_loggers_are_immutable(lines: Lines) -> None:
    bound = lines.log.bind(user="ada", cart=1)
    bound.unbind("cart").info("a")
    bound.try_unbind("cart", "nothing").info("b")
    bound.new(only=1).info("c")
    bound.info("d", cart=2)
    lines.log.info("e")
    got = [{k: v for k, v in line.items() if k in {"user", "cart", "only"}} for line in lines.read()]
    assert got == [{"user": "ada"}, {"user": "ada"}, {"only": 1}, {"user": "ada", "cart": 2}, {}]
    with pytest.raises(KeyError):
        bound.unbind("nothing")


def test_positional_arguments_are_formatted_and_misfits_do_no_harm(lines: Lines) -> None:
    lines.log.info("%s of %d", "one", 2)
    lines.log.info("%(a)s", {"a": "named"})
    lines.log.info("%d things", "no number")
    assert [line["message"] for line in lines.read()] == ["one of 2", "named", "%d things ('no number',)"]


def test_an_error_is_told_with_type_message_and_stack(lines: Lines) -> None:
    try:
        raise ValueError("no stock")
    except ValueError:
        lines.log.exception("failed", order_id=7)
    line = lines.one()
    assert line["level"] == "error"
    assert (line["error"]["type"], line["error"]["message"]) == ("ValueError", "no stock")
    assert "raise ValueError" in line["error"]["stack"]


@pytest.mark.parametrize("exc_info", [ValueError("x"), (ValueError, ValueError("x"), None)])
def test_exc_info_takes_an_exception_or_a_triple(lines: Lines, exc_info: Any) -> None:
    lines.log.warning("odd", exc_info=exc_info)  # it takes any exception
    assert lines.one()["error"]["message"] == "x"


def test_exc_info_without_an_exception_is_no_error(lines: Lines) -> None:
    lines.log.info("fine", exc_info=True)  # noqa: LOG014  # it takes any exception
    assert "error" not in lines.one()


def test_lines_below_the_level_go_nowhere(lines: Lines) -> None:
    lines.pipeline.level = 30
    lines.log.info("quiet")
    lines.log.log("debug", "quiet")
    lines.log.log(30, "said")
    assert [line["message"] for line in lines.read()] == ["said"]
    assert not lines.log.is_enabled_for(20)


async def test_async_calls_say_the_same(lines: Lines) -> None:
    await lines.log.ainfo("a")
    await lines.log.aerror("b")
    assert [line["level"] for line in lines.read()] == ["info", "error"]


def test_fields_named_like_the_lines_own_keys_are_kept_beside_them(lines: Lines) -> None:
    lines.log.info("mine", **dict.fromkeys(RESERVED, "field"))
    line = lines.one()
    assert (line["message"], line["service"], line["message_"], line["service_"]) == ("mine", "shop", "field", "field")


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Recursive(dict):
    def __init__(self) -> None:
        super().__init__()
        self["self"] = self


@pytest.mark.parametrize(
    "value",
    [
        Broken(),
        Recursive(),
        {1: "a", None: b"\xff", (1, 2): Broken()},
        b"\xff\x00",
        2**200,
        "\ud800",
        {"\ud800": float("inf")},
        float("nan"),
        "x" * 10_000_000,
        b"x" * 10_000_000,
        ["y" * 1_000_000] * 3,
        {Broken(): 1},
        (item for item in ()),
        type,
        sys,
        ValueError(Broken()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_value_breaks_a_line_or_makes_it_huge(lines: Lines, value: Any) -> None:
    lines.log.info("odd", value=value)
    lines.log.info(value)
    first, second = lines.read()
    assert first["message"] == "odd"
    assert "value" in first
    assert isinstance(second["message"], str)
    assert max(map(len, lines.stream.getvalue().splitlines())) < 20 * MAX_TEXT
    for line in lines.stream.getvalue().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # by itself it takes what is no JSON


def test_an_exception_that_cannot_be_printed_is_still_told(lines: Lines) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    lines.log.error("failed", exc_info=MuteError())  # it takes any exception
    assert lines.one()["error"]["type"].endswith("MuteError")


def test_an_error_is_written_at_once_and_the_rest_soon() -> None:
    stream = io.BytesIO()
    pipeline = Pipeline()
    pipeline.wire(10, [Writer(stream, JsonLines(SERVICE), flush_seconds=30)], None)
    log = Logger("x", None, pipeline)
    log.info("waits")
    time.sleep(0.05)
    assert stream.getvalue() == b""
    log.error("now")
    eventually(lambda: stream.getvalue().count(b"\n") == 2)


def test_lines_of_many_threads_all_arrive_whole(lines: Lines) -> None:
    def say(number: int) -> None:
        for index in range(200):
            lines.log.info("line", thread=number, index=index)

    threads = [threading.Thread(target=say, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = {(line["thread"], line["index"]) for line in lines.read()}
    assert len(got) == 1600


def test_a_stream_that_nobody_reads_blocks_nobody_and_is_counted() -> None:
    class Stuck(io.RawIOBase):
        def __init__(self) -> None:
            self.go = threading.Event()

        def write(self, data: Any) -> Any:
            self.go.wait(20)
            return len(data)

        def flush(self) -> None:
            pass

    stuck = Stuck()
    writer = Writer(stuck, JsonLines(SERVICE), flush_seconds=0.0)
    pipeline = Pipeline()
    pipeline.wire(10, [writer], None)
    log = Logger("x", None, pipeline)
    log.error("first")
    eventually(lambda: writer._writing)
    before = dropped("logs", "stream_blocked")
    started = time.monotonic()
    for _ in range(MOST_RECORDS + 10):
        log.info("more")
    assert time.monotonic() - started < 5
    assert dropped("logs", "stream_blocked") == before + 10
    stuck.go.set()


class Valve(io.RawIOBase):
    """Takes so many bytes a second; none at all while it is shut."""

    def __init__(self, bytes_per_second: float = 0.0) -> None:
        self.rate = bytes_per_second
        self.taken = 0
        self.open = threading.Event()

    def write(self, data: Any) -> Any:
        self.open.wait(20)
        if self.rate:
            time.sleep(len(data) / self.rate)
        self.taken += bytes(data).count(b"\n")
        return len(data)

    def flush(self) -> None:
        pass


def test_a_batch_job_loses_no_line_as_long_as_somebody_reads() -> None:
    valve = Valve(bytes_per_second=5e6)
    valve.open.set()
    writer = Writer(valve, JsonLines(SERVICE), flush_seconds=0.2)
    pipeline = Pipeline()
    pipeline.wire(10, [writer], None)
    log = Logger("x", None, pipeline)
    for number in range(3 * MOST_RECORDS):
        log.info("line", number=number)
    assert writer.flush(20)
    assert valve.taken == 3 * MOST_RECORDS


def filled(writer: Writer) -> Logger:
    """A logger whose writer's thread is stuck and whose buffer is full."""
    pipeline = Pipeline()
    pipeline.wire(10, [writer], None)
    log = Logger("x", None, pipeline)
    log.error("first")
    eventually(lambda: writer._writing)
    for _ in range(MOST_RECORDS):
        log.info("more")
    return log


def test_nobody_waits_long_for_a_stream_that_nobody_reads_nor_twice() -> None:
    valve = Valve()
    writer = Writer(valve, JsonLines(SERVICE), flush_seconds=0.0)
    log = filled(writer)
    started = time.monotonic()
    log.info("waits a moment")
    waited = time.monotonic() - started
    for _ in range(1_000):
        log.info("does not wait")
    assert STALLED_SECONDS <= waited < 1
    assert time.monotonic() - started - waited < STALLED_SECONDS
    valve.open.set()
    assert writer.flush(10)
    for _ in range(2 * MOST_RECORDS):
        log.info("taken again")
    assert writer.flush(10)
    assert valve.taken == 1 + 3 * MOST_RECORDS


@pytest.mark.usefixtures("served")
def test_a_request_waits_for_no_room() -> None:
    valve = Valve()
    log = filled(Writer(valve, JsonLines(SERVICE), flush_seconds=0.0))
    before = dropped("logs", "stream_blocked")
    started = time.monotonic()
    log.info("dropped")
    assert time.monotonic() - started < STALLED_SECONDS / 2
    assert dropped("logs", "stream_blocked") == before + 1
    valve.open.set()


def test_a_stream_that_speaks_while_it_is_written_to_waits_for_nobody() -> None:
    said = 0.0

    class Speaking(Valve):
        def write(self, data: Any) -> Any:
            nonlocal said
            self.open.wait(20)
            if not said:
                started = time.monotonic()
                log.info("by the writer's own thread")
                said = time.monotonic() - started
            return len(data)

    speaking = Speaking()
    writer = Writer(speaking, JsonLines(SERVICE), flush_seconds=0.0)
    log = filled(writer)
    speaking.open.set()
    assert writer.flush(10)
    assert 0 < said < STALLED_SECONDS / 2


def test_a_writer_that_is_closed_has_no_thread_and_writes_whatever_many_threads_say_at_once(lines: Lines) -> None:
    lines.log.info("before")
    thread = lines.writer._thread
    assert thread is not None
    lines.writer.close(5)
    thread.join(5)
    assert not thread.is_alive()

    def say(number: int) -> None:
        for index in range(100):
            lines.log.info("line", thread=number, index=index)

    threads = [threading.Thread(target=say, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines.stream.getvalue().count(b"\n") == 801


def test_a_signals_handler_may_speak_whatever_it_interrupts(lines: Lines) -> None:
    """At each instruction of a line's way to the thread, as a signal or a finalizer would."""
    interrupted = 0

    def interrupt(frame: Any, _event: str, _argument: Any) -> Any:
        nonlocal interrupted
        frame.f_trace_opcodes = True
        if frame.f_code.co_filename.endswith(("writer.py", "threading.py")):
            sys.settrace(None)
            interrupted += 1
            lines.log.error("signal")
            sys.settrace(interrupt)
        return interrupt

    lines.log.info("first")  # the thread runs

    def speak() -> None:
        sys.settrace(interrupt)
        lines.log.error("main")
        sys.settrace(None)

    speaking = threading.Thread(target=speak, daemon=True)
    speaking.start()
    speaking.join(10)
    assert not speaking.is_alive(), "it waits for a lock of its own"
    assert interrupted > 10
    assert len(lines.read()) == interrupted + 2


def test_a_writer_that_was_never_used_writes_at_once_when_it_is_closed(lines: Lines) -> None:
    lines.writer.close(5)
    lines.log.info("after")
    assert lines.stream.getvalue().count(b"\n") == 1


def test_what_our_own_threads_say_of_themselves_is_a_line_and_what_libraries_say_there_is_none(seen: Captured) -> None:
    def export() -> None:
        logging.getLogger("urllib3").warning("retrying")
        logging.getLogger("watchkeeper").warning("watchkeeper drops spans (unreachable)")

    thread = threading.Thread(target=export, name="watchkeeper-export")
    thread.start()
    thread.join()
    assert seen.messages() == ["watchkeeper drops spans (unreachable)"]


def test_a_level_of_debug_lets_no_library_tell_the_bodies_of_messages_unless_its_own_level_says_so() -> None:
    endpoint, chosen = logging.getLogger("botocore.endpoint"), logging.getLogger("aio_pika")
    chosen.setLevel(logging.DEBUG)
    try:
        with capture(Options(logs=LogOptions(level=10, stream="off"))) as seen:
            endpoint.debug("Making request with body …")
            endpoint.info("told")
            chosen.debug("Publishing message …")
            logging.getLogger("shop").debug("ours")
    finally:
        chosen.setLevel(logging.NOTSET)
    messages = [message for message in seen.messages() if message in {"told", "ours"} or message.endswith("…")]
    assert messages == ["told", "Publishing message …", "ours"]
    assert logging.getLogger("botocore").level == logging.NOTSET


def test_what_the_applications_functions_warn_of_in_our_threads_is_a_line(seen: Captured) -> None:
    def ask() -> None:
        logging.getLogger("pika").info("connecting")
        logging.getLogger("shop").warning("the broker is slow")

    thread = threading.Thread(target=ask, name="watchkeeper-queues")
    thread.start()
    thread.join()
    assert seen.messages() == ["the broker is slow"]


def test_a_stack_that_was_asked_for_is_a_field(seen: Captured) -> None:
    logging.getLogger("shop").warning("how did we get here?", stack_info=True)
    stack = seen.line("how did we get here?").fields["stack_info"]
    assert stack.startswith("Stack (most recent call last):")
    assert "test_a_stack_that_was_asked_for_is_a_field" in stack


def test_a_text_stream_gets_text() -> None:
    stream = io.StringIO()
    writer = Writer(stream, JsonLines(SERVICE), flush_seconds=0.0)
    pipeline = Pipeline()
    pipeline.wire(10, [writer], None)
    Logger("x", None, pipeline).info("hi")
    writer.flush(5)
    assert json.loads(stream.getvalue())["message"] == "hi"


def failed_record() -> Record:
    with capture() as seen, wk.span("s"):
        try:
            json.loads("{")
        except ValueError:
            wk.get_logger("shop").exception("failed", order_id=7, name="a b")
    return seen.records[0]


def test_the_console_format_is_for_people() -> None:
    text = ConsoleLines(colours=False)(failed_record()).decode()
    first = r"\d\d:\d\d:\d\d\.\d{3} ERROR failed  order_id=7  name='a b'  trace=[0-9a-f]{32}  \(shop\)\n"
    assert re.match(first, text)
    assert "\n  Traceback (most recent call last):\n    tests/unit/sdk/test_logging.py:" in text
    assert " in failed_record\n" in text
    assert "\n    json/decoder.py:" in text
    assert "\n  json.decoder.JSONDecodeError: Expecting property name" in text
    assert "\x1b[" not in text


def test_a_terminals_traceback_shows_the_applications_frames_and_dims_libraries() -> None:
    text = ConsoleLines(colours=True)(failed_record()).decode()
    assert re.search(r"\x1b\[36mtests/unit/sdk/test_logging\.py:\d+\x1b\[0m\x1b\[33m in failed_record\x1b\[0m", text)
    assert re.search(r"\x1b\[2mjson/decoder\.py:\d+ in decode\x1b\[0m", text)
    assert "\x1b[1;31mjson.decoder.JSONDecodeError\x1b[0m: \x1b[31mExpecting" in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert "\n    tests/unit/sdk/test_logging.py:" in plain


def test_chained_and_grouped_errors_are_shown_whole_on_a_terminal() -> None:
    def fail() -> None:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ExceptionGroup("several", [ValueError("one\ntwo"), OSError("three")]) from inner

    with capture() as seen:
        try:
            fail()
        except ExceptionGroup:
            wk.get_logger("shop").exception("failed")
    plain = re.sub(r"\x1b\[[\d;]*m", "", ConsoleLines(colours=True)(seen.records[0]).decode())
    for words in (
        "KeyError: 'inner'",
        "direct cause",
        "several (2 sub-exceptions)",
        "ValueError: one",
        "two",
        "OSError: three",
    ):
        assert words in plain


def test_nothing_that_is_logged_can_drive_a_terminal() -> None:
    with capture() as seen:
        try:
            raise ValueError("\x1b[2J\x07")
        except ValueError:
            wk.get_logger("shop").exception("\x1b[2Jsaid\r\x9b", agent="\x1b]0;x\x07", **{"\x1b": 1})
    text = ConsoleLines(colours=False)(seen.records[0]).decode()
    assert not set(text) & {"\x1b", "\x07", "\r", "\x9b"}
    assert "\\x1b[2Jsaid\\x0d\\x9b" in text


# Levels


@pytest.mark.parametrize(
    ("method", "name", "number"),
    [
        ("trace", "trace", 1),
        ("silly", "trace", 1),
        ("debug", "debug", 5),
        ("verbose", "verbose", 6),
        ("http", "http", 7),
        ("info", "info", 9),
        ("notice", "info", 10),
        ("warning", "warning", 13),
        ("warn", "warning", 13),
        ("error", "error", 17),
        ("err", "error", 17),
        ("critical", "critical", 21),
        ("crit", "critical", 21),
        ("fatal", "critical", 21),
        ("alert", "critical", 22),
        ("emerg", "critical", 24),
        ("emergency", "critical", 24),
        ("panic", "critical", 24),
    ],
)
def test_levels_of_syslog_and_winston_are_spoken_and_have_otlps_numbers(
    lines: Lines, method: str, name: str, number: int
) -> None:
    lines.pipeline.level = LEVELS[method]
    getattr(lines.log, method)("one")
    lines.log.log(method.upper(), "two")
    assert [line["level"] for line in lines.read()] == [name, name]
    assert severity_of(LEVELS[method]) == (number, name)
    lines.pipeline.level = LEVELS[method] + 1
    getattr(lines.log, method)("three")
    lines.log.log(method, "three")
    assert len(lines.read()) == 2
    assert Options.from_environment({"WATCHKEEPER_LOG_LEVEL": method.upper()}).logs.level == LEVELS[method]


def test_a_level_that_nobody_knows_is_info(lines: Lines) -> None:
    lines.log.log("loud", "one")
    lines.log.log(None, "two")
    lines.log.log(33, "three")
    assert [line["level"] for line in lines.read()] == ["info", "info", "warning"]
    assert level_of(" Warn ", 0) == 30


# What is bound to the context


class Served:
    """A request as the middleware keeps it."""

    def __init__(self) -> None:
        self.request_id = "r-1"
        self.correlation_id = "c-1"
        self.bound: dict[str, Any] | None = None
        self.span = None


@pytest.fixture
def served() -> Iterator[Served]:
    request = Served()
    token = attach(Context({REQUEST_KEY: request}))
    yield request
    detach(token)


def test_what_is_bound_in_a_request_is_on_all_its_lines_from_any_thread_and_on_no_others(
    lines: Lines, served: Served
) -> None:
    def authenticate() -> None:  # as a framework runs it: in a thread, with a copy of the context
        wk.bind_context(user_id="u-7", tenant_id="acme")
        wk.bind_context(correlation_id="c-2")

    thread = threading.Thread(target=contextvars.copy_context().run, args=(authenticate,))
    thread.start()
    thread.join()
    lines.log.info("inside", tenant_id="other")
    token = attach(Context())
    lines.log.info("outside")
    detach(token)
    inside, outside = lines.read()
    assert (inside["request_id"], inside["correlation_id"]) == ("r-1", "c-2")
    assert (inside["user_id"], inside["tenant_id"]) == ("u-7", "other")
    assert not {"user_id", "tenant_id", "correlation_id", "request_id"} & set(outside)


def test_fields_are_bound_to_a_block_and_to_what_it_starts(lines: Lines, served: Served) -> None:
    wk.bind_context(user_id="u-1", step="request")
    with wk.bound_context(step="outer", correlation_id="c-9"), wk.bound_context(inner=1):
        lines.log.info("in")
    lines.log.info("out")
    first, second = lines.read()
    assert {key: first.get(key) for key in ("user_id", "step", "inner", "correlation_id")} == {
        "user_id": "u-1", "step": "outer", "inner": 1, "correlation_id": "c-9",
    }  # fmt: skip
    assert (second["step"], second["correlation_id"], "inner" in second) == ("request", "c-1", False)


def test_outside_of_a_request_fields_hold_until_the_spans_block_ends(lines: Lines) -> None:
    with wk.span("job"):
        wk.bind_context(job_id=7, correlation_id="j-7")
        lines.log.info("in")
    lines.log.info("out")
    first, second = lines.read()
    assert (first["job_id"], first["correlation_id"]) == (7, "j-7")
    assert not {"job_id", "correlation_id"} & set(second)


def test_a_bound_id_that_cannot_be_printed_breaks_nothing(lines: Lines, served: Served) -> None:
    wk.bind_context(correlation_id=Broken(), user_id=Broken())
    lines.log.info("said")
    line = lines.one()
    assert line["correlation_id"].startswith("<unprintable")
    assert line["user_id"].startswith("<unprintable")


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("r", "r"),
        ("", ""),
        ("two words", ""),
        ("c\n", ""),
        ("\u00e9", ""),
        ("x" * 128, "x" * 128),
        ("x" * 129, ""),
    ],
)
def test_an_id_that_a_caller_sent_is_used_if_it_is_visible_ascii_of_bounded_length(header: str, wanted: str) -> None:
    assert usable_id(header) == wanted


# Formats


def told(names: Any, **fields: Any) -> dict[str, Any]:
    with capture() as seen:
        try:
            raise ValueError("no")
        except ValueError:
            wk.get_logger("shop").exception("failed", **fields)
    ids = {"trace_id": 0xABC, "span_id": 0xDEF, "request_id": "r-1", "correlation_id": "c-1"}
    line: dict[str, Any] = json.loads(JsonLines(SERVICE, names)(seen.records[0]._replace(**ids)))
    return line


def test_logstash_gets_its_timestamp_and_version() -> None:
    line = told(LOGSTASH, order_id=7, **{"@version": "mine"})
    assert list(line)[:3] == ["@timestamp", "level", "message"]
    assert (line["@version"], line["@version_"], line["order_id"]) == ("1", "mine", 7)
    assert (line["logger"], line["service"], line["correlation_id"]) == ("shop", "shop", "c-1")
    assert line["error"]["type"] == "ValueError"


def test_elastics_common_schema_names_everything_as_it_should() -> None:
    line = told(ECS, order_id=7, user_id="u-7", tenant_id="acme", error="mine", host="mine", labels={"a": 1})
    assert list(line)[:3] == ["@timestamp", "log.level", "message"]
    stack = line.pop("error.stack_trace")
    assert "raise ValueError" in stack
    assert len(line.pop("error.fingerprint")) == len(line.pop("error.id")) == 32
    del line["@timestamp"]
    assert line == {
        "log.level": "error",
        "message": "failed",
        "log.logger": "shop",
        "service.name": "shop",
        "service.version": "1.2",
        "service.environment": "prod",
        "host.hostname": socket.gethostname(),
        "process.pid": os.getpid(),
        "ecs.version": "8.11.0",
        "trace.id": f"{0xABC:032x}",
        "span.id": f"{0xDEF:016x}",
        "http.request.id": "r-1",
        "labels.correlation_id": "c-1",
        "order_id": 7,
        "user.id": "u-7",
        "organization.id": "acme",
        "error_": "mine",
        "host_": "mine",
        "labels_": {"a": 1},
        "error.type": "ValueError",
        "error.message": "no",
        "error.category": "unknown",
    }


@pytest.mark.parametrize(("name", "first"), [("json", "timestamp"), ("logstash", "@timestamp"), ("ecs", "@timestamp")])
def test_formats_are_chosen_by_name(capsys: pytest.CaptureFixture[str], name: Any, first: str) -> None:
    options = Options.from_environment({"WATCHKEEPER_LOG_FORMAT": name})
    wk.configure(replace(options, export={}))
    wk.get_logger("x").info("hi")
    wk.shutdown()
    assert next(iter(json.loads(capsys.readouterr().out))) == first


def test_a_record_that_cannot_be_written_is_counted(production: None) -> None:
    class Full(io.RawIOBase):
        def write(self, _data: Any) -> Any:
            raise OSError("no space")

    writer = Writer(Full(), JsonLines(SERVICE), flush_seconds=0.0)
    pipeline = Pipeline()
    pipeline.wire(10, [writer], None)
    before = dropped("logs", "stream_failed")
    Logger("x", None, pipeline).error("lost")
    eventually(lambda: dropped("logs", "stream_failed") == before + 1)
    writer.close(5)
    assert writer._thread is not None
    writer._thread.join(5)  # it says so once, and not among another test's lines


# The standard library


def test_stdlib_lines_come_through_with_extras_and_errors(seen: Captured) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("lib").warning("%s broke", "it", exc_info=True, extra={"order_id": 7})
    (record,) = seen.records
    assert (record.logger, record.level, record.message) == ("lib", 30, "it broke")
    assert record.fields == {"order_id": 7}
    assert record.failure.type == "ValueError"


def test_extras_whose_names_are_no_text_reach_every_sink(seen: Captured) -> None:
    logging.getLogger("lib").warning("odd", extra={1: "a", (2, 3): "b", None: "c"})
    (record,) = seen.records
    assert record.fields == {"1": "a", "(2, 3)": "b", "None": "c"}
    assert json.loads(JsonLines(SERVICE)(record))["1"] == "a"
    assert LogEncoder(b"").encode([record])


def test_stdlib_lines_are_redacted_too(seen: Captured) -> None:
    logging.getLogger("lib").warning("sent %s", {"password": "hunter2"}, extra={"token": "hunter2"})
    assert "hunter2" not in repr(seen.records)


def test_a_stdlib_line_whose_arguments_do_not_fit_is_kept(seen: Captured) -> None:
    logger = logging.getLogger("lib.misfit")
    logger.propagate = False  # pytest's own handler would raise
    logger.addHandler(stdlib_logging.Handler(pipeline))
    logger.warning("%d things", "no number")
    assert seen.messages() == ["%d things ('no number',)"]


def test_the_servers_own_lines_join_the_pipeline_with_typed_access_fields(
    seen: Captured, capsys: pytest.CaptureFixture[str]
) -> None:
    access = logging.getLogger("uvicorn.access")
    handler = logging.StreamHandler(sys.stdout)
    access.addHandler(handler)
    access.setLevel(logging.INFO)
    access.propagate = False
    try:
        stdlib_logging.capture.adopt()
        access.info('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/x", "1.1", 200)
        assert capsys.readouterr().out == ""
        (record,) = seen.records
        assert record.fields == {
            "client": "1.2.3.4:5",
            "method": "GET",
            "path": "/x",
            "http_version": "1.1",
            "status": 200,
        }
        stdlib_logging.uninstall()
        assert (access.handlers, access.propagate) == ([handler], False)
    finally:
        access.handlers.clear()
        access.propagate = True


def test_an_access_log_that_was_switched_off_stays_off(seen: Captured) -> None:
    access = logging.getLogger("uvicorn.access")
    access.propagate = False
    try:
        stdlib_logging.capture.adopt()
        assert access.propagate is False
    finally:
        access.propagate = True


def test_shutdown_gives_the_root_logger_back() -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with capture():
        assert root.handlers != handlers
    assert (root.handlers, root.level) == (handlers, level)


def test_capture_can_be_switched_off() -> None:
    with capture(Options(logs=LogOptions(stream="off", capture=False))) as seen:
        logging.getLogger("lib").error("elsewhere")
    assert seen.records == []


# structlog


def test_structlogs_lines_and_context_come_through(seen: Captured) -> None:
    structlog.contextvars.bind_contextvars(tenant="acme")
    try:
        structlog.get_logger().bind(a=1).warning("said", b=2)
        wk.get_logger("ours").info("also")
        try:
            raise ValueError("no")
        except ValueError:
            structlog.get_logger().exception("broke")
    finally:
        structlog.contextvars.clear_contextvars()
    said, also, broke = seen.records
    assert (said.level, said.message, said.fields) == (30, "said", {"tenant": "acme", "a": 1, "b": 2})
    assert also.fields == {"tenant": "acme"}
    assert broke.failure.type == "ValueError"


@pytest.mark.parametrize(("level", "said"), [("trace", ["info", "warning"]), ("notice", ["warning"]), ("alert", [])])
def test_structlogs_lines_are_kept_from_any_level_upwards(level: str, said: list[str]) -> None:
    with capture(Options(logs=LogOptions(level=LEVELS[level], stream="off"))) as seen:
        structlog.get_logger().info("info")
        structlog.get_logger().warning("warning")
    assert seen.messages() == said


@pytest.mark.parametrize(("level", "said"), [(5, ["debug", "info"]), (17, ["info"]), (25, []), (1_000, [])])
def test_structlog_is_filtered_by_any_level(level: int, said: list[str]) -> None:
    with capture(Options(logs=LogOptions(level=level, stream="off"))) as seen:
        structlog.get_logger().debug("debug")
        structlog.get_logger().info("info")
    assert [message for message in seen.messages() if message in {"debug", "info"}] == said


def test_an_application_that_configured_structlog_keeps_it_where_nothing_is_captured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    try:
        with capture(Options(logs=LogOptions(stream="off", capture=False))) as seen:
            structlog.get_logger().info("mine")
        assert seen.records == []
        assert json.loads(capsys.readouterr().out)["event"] == "mine"
    finally:
        structlog.reset_defaults()
