"""Whatever an application hands over: no exception comes back, and nothing that was said beside it is lost.

The error boundary is as in production here, silent and counting. Everything that can leave does leave: to a real OTLP
server, to a file and to the page of metrics; each test looks for an innocent item beside the odd one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import enum
import json
import logging
import math
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, Status, StatusCode
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strictly_read
from prometheus_client.parser import text_string_to_metric_families

import watchkeeper as wk
from support.sdk import Sink, attributes, serving
from watchkeeper import FileOptions, LogOptions, SignalOptions
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.stdlib_logging import Handler
from watchkeeper.metrics.exposition import answer
from watchkeeper.tracing.recent import recent
from watchkeeper.values import MAX_ALL_ITEMS, snapshot


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class Quits:
    def __str__(self) -> str:
        raise SystemExit(1)

    __repr__ = __str__


class BrokenError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class LazyMapping(Mapping[str, Any]):
    """Fails half-way."""

    def __getitem__(self, key: str) -> Any:
        raise ConnectionError(key)

    def __iter__(self) -> Iterator[str]:
        yield "first"
        raise ConnectionError("gone")

    def __len__(self) -> int:
        return 10**9


class LyingText(str):
    __slots__ = ()

    def __len__(self) -> int:
        raise ValueError("no length")

    def __eq__(self, other: object) -> bool:
        raise ValueError("not comparable")

    def __hash__(self) -> int:
        raise ValueError("not hashable")

    def __str__(self) -> str:
        raise ValueError("no words")


class LyingList(list[int]):
    def __iter__(self) -> Iterator[int]:
        raise ValueError("no items")


class Colour(enum.Enum):
    RED = 1


def recursive() -> Any:
    found: dict[str, Any] = {"list": []}
    found["self"] = found
    found["list"].append(found)
    return found


def nested(depth: int) -> Any:
    found: Any = "end"
    for _ in range(depth):
        found = [found]
    return found


async def never_awaited() -> None: ...


MAKERS: dict[str, Callable[[], Any]] = {  # made anew for each test, since some are used up
    "unprintable": Unprintable,
    "quits": Quits,
    "lazy mapping": LazyMapping,
    "lying text": lambda: LyingText("x"),
    "lying list": lambda: LyingList([1]),
    "recursive": recursive,
    "deep": lambda: nested(10_000),
    "10 MB of text": lambda: "x" * 10_000_000,
    "10 MB of bytes": lambda: b"\xff" * 10_000_000,
    "a million items": lambda: list(range(1_000_000)),
    "NaN": lambda: math.nan,
    "infinity": lambda: -math.inf,
    "70 bits": lambda: 2**70,
    "20,000 bits": lambda: -(10**6_000),
    "lone surrogate": lambda: "\ud800",
    "NUL and controls": lambda: "a\0b\x1b[31m\r\n\u2028",
    "keys of all kinds": lambda: {None: 1, (1, 2): 2, b"\xff": 3, "\ud800": 4, Unprintable(): 5, 1.5: {2: 3}},
    "bytes": lambda: b"\x80abc",
    "memory": lambda: memoryview(b"abc"),
    "set": lambda: {frozenset({1}), "a", 2},
    "generator": lambda: (number for number in range(3)),
    "endless generator": lambda: iter(int, 1),
    "decimal": lambda: decimal.Decimal("NaN"),
    "datetime": lambda: dt.datetime(1, 1, 1, tzinfo=dt.UTC),
    "uuid": lambda: uuid.UUID(int=7),
    "enum": lambda: Colour.RED,
    "type": lambda: Unprintable,
    "namespace": lambda: SimpleNamespace(broken=Unprintable()),
    "exception": BrokenError,
    "lock": threading.Lock,
    "none": lambda: None,
    "minus one": lambda: -1,
    "true": lambda: True,
}
VALUES = sorted(MAKERS)


def shown(value: object) -> str:
    """The id of a test's case, the same in each process."""
    try:
        return re.sub(" at 0x[0-9a-f]+", "", repr(value))[:60].encode("ascii", "backslashreplace").decode()
    except BaseException:  # noqa: BLE001  # see Quits
        return type(value).__name__


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sink, Path]]:
    """An SDK whose every sink is on."""
    path = tmp_path_factory.mktemp("logs") / "app.log"
    with serving() as server:
        options = server.options(logs=LogOptions(stream="off", level=5, file=FileOptions(str(path))))
        export = {**options.export, "metrics": SignalOptions()}  # pushed by the last test, since each push takes all
        wk.configure(replace(options, export=export))
        yield server, path
        wk.shutdown(0.5)


@pytest.fixture(autouse=True)
def silent(production: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "_said", set())


@pytest.fixture
def sink(running: tuple[Sink, Path]) -> Sink:
    """What the OTLP server has got from this test."""
    server, path = running
    assert wk.flush()
    server.requests.clear()
    path.write_bytes(b"")
    recent.clear()
    return server


@pytest.fixture
def file(sink: Sink, running: tuple[Sink, Path]) -> Path:
    """The lines of this test."""
    return running[1]


@pytest.fixture
def stdlib(file: Path) -> logging.Logger:
    """A logger that is heard by us only: pytest's handlers raise what they cannot format."""
    logger = logging.Logger("shop.stdlib")  # noqa: LOG001  # one that pytest does not find
    logger.handlers = [each for each in logging.getLogger().handlers if isinstance(each, Handler)]
    return logger


def lines(path: Path) -> list[dict[str, Any]]:
    """All but the SDK's own, which says what it thinks of such input."""
    assert wk.flush()
    found = [json.loads(line) for line in path.read_text().split("\n") if line]
    return [line for line in found if line["logger"] != "watchkeeper"]


def messages(path: Path, sink: Sink) -> list[str]:
    """What the file has; the OTLP server must have the same."""
    found = [line["message"] for line in lines(path)]
    sent = [record.body.string_value for record in sink.records()]
    assert set(sent) >= {message.encode("utf-8", "replace").decode() for message in found}
    return found


# Lines


@pytest.mark.parametrize("name", VALUES)
def test_a_field_may_be_anything(name: str, file: Path, sink: Sink) -> None:
    log = wk.get_logger("shop", bound=MAKERS[name]())
    value = MAKERS[name]()
    log.info("odd", value=value, nested={"deep": [value]})
    with wk.bound_context(value=value):
        log.info("innocent")
    assert messages(file, sink) == ["odd", "innocent"]
    assert file.stat().st_size < 2_000_000


@pytest.mark.parametrize("name", VALUES)
def test_a_message_may_be_anything(name: str, file: Path, sink: Sink) -> None:
    log, value = wk.get_logger("shop"), MAKERS[name]()
    log.info(value)
    log.info("%s %d", value, value)
    log.info("%(a)s", {"a": value})
    log.info("innocent")
    found = messages(file, sink)
    assert len(found) == 4
    assert found[-1] == "innocent"


@pytest.mark.parametrize("name", VALUES)
def test_the_standard_librarys_logging_may_say_anything(
    name: str, file: Path, sink: Sink, stdlib: logging.Logger
) -> None:
    value = MAKERS[name]()
    stdlib.warning(value)
    stdlib.warning("%s %d", value, value)
    stdlib.warning("extra", extra={"value": value})
    stdlib.warning("innocent")
    found = messages(file, sink)
    assert len(found) == 4
    assert found[-1] == "innocent"


@pytest.mark.parametrize(
    "changes",
    [
        {"created": math.nan},
        {"created": -1e30},
        {"created": "yesterday"},
        {"created": 1e300},
        {"name": None},
        {"name": ["shop"]},
        {"levelno": "high"},
        {"levelno": math.nan},
        {"exc_info": True},
        {"exc_info": ("not", "an", "exception")},
        {"exc_info": (BrokenError, BrokenError(), None)},
        {"args": object()},
        {"threadName": None},
        {"threadName": 7},
        {"name": "uvicorn.access", "args": (1, 2, 3)},
        {"name": "gunicorn.access", "args": {"s": Unprintable(), "{watchkeeper}e": "no request"}},
        {"name": "django.server", "args": (Unprintable(), None, 3)},
        {"name": "celery.worker", "data": {"id": Unprintable()}},
    ],
    ids=shown,
)
def test_a_log_record_may_be_of_any_shape(
    changes: dict[str, Any], file: Path, sink: Sink, stdlib: logging.Logger
) -> None:
    stdlib.handlers[0].emit(logging.makeLogRecord({"name": "shop", "levelno": 30, "msg": "odd", **changes}))
    stdlib.warning("innocent")
    assert messages(file, sink)[-1] == "innocent"


@pytest.mark.parametrize("name", [None, 7, ["list"], Unprintable(), "x" * 100_000, "\ud800"], ids=shown)
def test_a_logger_may_be_named_anything(name: Any, file: Path, sink: Sink) -> None:
    wk.get_logger(name).info("odd")
    wk.get_logger("shop").info("innocent")
    assert messages(file, sink) == ["odd", "innocent"]


@pytest.mark.parametrize("level", [None, "nonsense", 3.5, math.nan, [], -(10**30), 10**30, Unprintable()], ids=shown)
def test_a_level_may_be_anything(level: Any, file: Path, sink: Sink) -> None:
    log = wk.get_logger("shop")
    log.log(level, "odd")
    log.is_enabled_for(level)
    with wk.timed("timed", level=level):
        pass
    log.info("innocent")
    assert messages(file, sink)[-1] == "innocent"


@pytest.mark.parametrize("exc_info", [1, "yes", (1, 2, 3), (), BrokenError(), Unprintable()], ids=shown)
def test_exc_info_may_be_anything(exc_info: Any, file: Path, sink: Sink) -> None:
    wk.get_logger("shop").error("odd", exc_info=exc_info)
    assert messages(file, sink) == ["odd"]


def test_an_error_of_ten_megabytes_with_a_thousand_causes_is_told_within_bounds(file: Path, sink: Sink) -> None:
    error: BaseException | None = None
    for number in range(1_000):
        try:
            raise ValueError("x" * 10_000 + str(number)) from error
        except ValueError as raised:
            error = raised
    assert error is not None
    wk.get_logger("shop").error("odd", exc_info=error)
    with wk.span("odd") as span:
        span.record_exception(error)
    (line,) = lines(file)
    assert len(line["error"]["stack"]) < 100_000
    assert line["error"]["stack"].rstrip().endswith("999")
    (told,) = sink.spans()
    assert len(attributes(told.events[0])["exception.stacktrace"]) < 100_000


def test_a_recursion_error_is_told(file: Path, sink: Sink) -> None:
    def deeper() -> None:
        deeper()

    try:
        deeper()
    except RecursionError:
        wk.get_logger("shop").exception("odd")
    assert lines(file)[0]["error"]["type"] == "RecursionError"


def test_a_field_changed_by_another_thread_meanwhile_harms_nothing(file: Path, sink: Sink) -> None:
    changing: dict[str, int] = {}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            changing[str(number % 500)] = number
            changing.pop(str((number * 7) % 500), None)

    thread = threading.Thread(target=change)
    thread.start()
    for _ in range(200):
        wk.get_logger("shop").info("odd", changing=changing)
    stop.set()
    thread.join()
    assert messages(file, sink) == ["odd"] * 200


@pytest.mark.parametrize("name", VALUES)
def test_durations_and_marks_may_be_named_anything(name: str, file: Path, sink: Sink) -> None:
    value = MAKERS[name]()
    with wk.timed(value, value=value):
        pass
    wk.mark(value)
    wk.measure(value, value, value, value=value)
    wk.measure("known", "never made", level=value, slow_seconds=value)
    wk.timed("slow", slow_seconds=value)(lambda: None)()
    wk.get_logger("shop").info("innocent")
    assert messages(file, sink)[-1] == "innocent"


# Spans


@pytest.mark.parametrize("name", VALUES)
def test_a_span_may_be_told_anything(name: str, sink: Sink, file: Path) -> None:
    value = MAKERS[name]()
    tracer: Any = trace.get_tracer("shop")
    with wk.span(value, value=value) as span:
        span.set_attribute(value, 1)
        span.set_attribute("value", value)
        span.set_attributes(value)
        span.set_attributes({"in": value})
        span.add_event(value, {"value": value})
        span.add_event("event", value)
        span.add_event("event", {}, value)
        span.add_link(value)
        span.add_link(SpanContext(1, 2, is_remote=False), value)
        span.add_link(SpanContext(1, 2, is_remote=False), {"value": value})
        span.record_exception(value)
        span.record_exception(ValueError("x"), {"value": value}, value)
        span.set_status(value)
        span.set_status(StatusCode.ERROR, value)
        span.update_name(value)
    with wk.span("parent") as parent:
        tracer.start_span("odd", attributes=value, links=value, start_time=value).end(value)
        tracer.start_span("odd", links=[value], kind=value).end()
        parent.end()
        parent.end()
    with wk.span("innocent"):
        pass
    assert wk.flush()
    spans = sink.spans()
    assert len(spans) == 5
    assert "innocent" in {span.name for span in spans}


@pytest.mark.parametrize("at", [-1, 0, 1.5, 2**64, 10**40, math.nan, "now", None], ids=shown)
def test_times_that_cannot_be_are_taken_as_now(at: Any, sink: Sink, file: Path) -> None:
    span: Any = trace.get_tracer("shop").start_span("odd", start_time=at)
    span.add_event("event", timestamp=at)
    span.end(at)
    assert wk.flush()
    (told,) = sink.spans()
    for time_ns in (told.start_time_unix_nano, told.end_time_unix_nano, told.events[0].time_unix_nano):
        assert 1.7e18 < time_ns < 4e18 or time_ns == at


def test_a_span_ended_twice_or_told_of_after_its_end_leaves_once(sink: Sink, file: Path) -> None:
    span: Any = trace.get_tracer("shop").start_span("odd")
    span.end()
    span.end(5)
    span.set_attribute("late", 1)
    span.add_event("late")
    span.set_status(Status(StatusCode.ERROR))
    assert wk.flush()
    (told,) = sink.spans()
    assert attributes(told) == {}
    assert not told.events


@pytest.mark.parametrize("link", [None, 7, "x", Link(SpanContext(0, 0, is_remote=False)), SimpleNamespace()], ids=shown)
def test_a_bad_link_is_left_out(link: Any, sink: Sink, file: Path) -> None:
    good = Link(SpanContext(1, 2, is_remote=False))
    trace.get_tracer("shop").start_span("odd", links=[link, good]).end()
    assert wk.flush()
    assert [item.span_id.hex() for item in sink.spans()[0].links if any(item.span_id)] == ["0000000000000002"]


@pytest.mark.parametrize("name", [None, 7, [], Unprintable()], ids=shown)
def test_a_tracer_may_be_named_anything(name: Any, sink: Sink, file: Path) -> None:
    tracer: Any = trace.get_tracer(name, name, schema_url=name)
    tracer.start_span("odd").end()
    trace.get_tracer("shop").start_span("innocent").end()
    assert wk.flush()
    assert sorted(span.name for span in sink.spans()) == ["innocent", "odd"]


# Metrics


def exposed() -> dict[str, Any]:
    """The page of metrics, read by prometheus_client's parser."""
    page = answer("text/plain", "")
    return {family.name: family for family in text_string_to_metric_families(page.body.decode())}


@pytest.mark.parametrize("kind", [name for name in VALUES if name != "endless generator"])
def test_a_metric_may_be_given_anything(kind: str, file: Path, sink: Sink) -> None:
    value = MAKERS[kind]()
    name = f"t_bad_{uuid.uuid4().hex}"
    counter, gauge = wk.counter(f"{name}_total"), wk.gauge(f"{name}_g")
    histogram, summary = wk.histogram(f"{name}_h"), wk.summary(f"{name}_s")
    counter.inc(value)
    gauge.set(value)
    gauge.inc(value)
    gauge.dec(value)
    histogram.observe(value)
    summary.observe(value)
    counter.inc()
    try:
        assert exposed()[name].samples[0].value >= 1
    finally:  # a sum below zero is nothing that OpenMetrics' strict parser reads, in whichever test it meets it
        for metric in (counter, gauge, histogram, summary):
            REGISTRY.unregister(metric.inner)


def test_a_counter_never_goes_down_or_becomes_no_number(file: Path) -> None:
    counter = wk.counter("t_bad_down_total")
    counter.inc(2)
    for amount in (-1, -0.5, math.nan, math.inf, -math.inf):
        counter.inc(amount)
    assert exposed()["t_bad_down"].samples[0].value == 2


LABELS = {
    "newline": "a\nb\r\nc",
    "quotes": 'a"b\\c',
    "megabyte": "x" * 1_000_000,
    "surrogate": "\ud800",
    "NUL": "a\0b",
    "unprintable": Unprintable(),
    "none": None,
    "bytes": b"\xff",
    "empty": "",
}


@pytest.mark.parametrize("name", LABELS)
def test_a_label_may_be_what_a_user_sent(name: str, file: Path, sink: Sink) -> None:
    metric = f"t_label_{uuid.uuid4().hex}_total"
    counter = wk.counter(metric, "", ["who"])
    counter.labels(LABELS[name]).inc()
    counter.labels("innocent").inc()
    families = exposed()
    told = {sample.labels["who"] for sample in families[metric.removesuffix("_total")].samples}
    assert "innocent" in told
    assert max(map(len, told)) <= 1_100


@pytest.mark.parametrize("labels", [(), ("a", "b", "c"), ("a",)], ids=shown)
def test_the_wrong_number_of_labels_counts_nowhere(labels: tuple[str, ...], file: Path) -> None:
    name = f"t_two_labels_{uuid.uuid4().hex}"
    counter = wk.counter(f"{name}_total", "", ["a", "b"])
    counter.labels(*labels).inc()
    counter.labels(a="x", c="y").inc()
    counter.inc()
    counter.labels("x", "y").inc()
    assert [sample.value for sample in exposed()[name].samples if sample.name.endswith("_total")] == [1]


DECLARATIONS: dict[str, Callable[[], Any]] = {
    "a space in the name": lambda: wk.counter("t bad"),
    "an empty name": lambda: wk.gauge(""),
    "no name": lambda: wk.gauge(None),  # type: ignore[arg-type]
    "a digit first": lambda: wk.counter("1_total"),
    "a label with a dash": lambda: wk.counter("t_bad_a_total", "", ["a-b"]),
    "a reserved label": lambda: wk.histogram("t_bad_b", "", ["le"]),
    "a label twice": lambda: wk.counter("t_bad_c_total", "", ["a", "a"]),
    "labels that are no names": lambda: wk.counter("t_bad_d_total", "", [1, None]),  # type: ignore[list-item]
    "labels that are none": lambda: wk.counter("t_bad_e_total", "", None),  # type: ignore[arg-type]
    "labels that are one text": lambda: wk.counter("t_bad_f_total", "", "ab"),
    "buckets out of order": lambda: wk.histogram("t_bad_g", buckets=(2, 1)),
    "no buckets": lambda: wk.histogram("t_bad_h", buckets=()),
    "buckets of words": lambda: wk.histogram("t_bad_i", buckets=("a", "b")),  # type: ignore[arg-type]
    "buckets that are a number": lambda: wk.histogram("t_bad_j", buckets=5),  # type: ignore[arg-type]
    "NaN in the buckets": lambda: wk.histogram("t_bad_k", buckets=(1, math.nan)),
    "quantiles beyond one": lambda: wk.summary("t_bad_l", quantiles=(2.0, -1.0)),
    "quantiles of words": lambda: wk.summary("t_bad_m", quantiles=("a",)),  # type: ignore[arg-type]
    "a description of none": lambda: wk.counter("t_bad_n_total", None),  # type: ignore[arg-type]
    "a description of lines": lambda: wk.counter("t_bad_o_total", "a\nb\\c\0\ud800"),
    "an unprintable name": lambda: wk.counter(Unprintable()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", DECLARATIONS)
def test_a_declaration_may_be_anything(name: str, file: Path, sink: Sink) -> None:
    metric = DECLARATIONS[name]()
    metric.labels("a", "b")
    for told in (metric, metric.labels("x"), metric.labels(a=1)):
        for method in ("inc", "set", "observe"):
            if hasattr(told, method):
                getattr(told, method)(1)
    innocent = f"t_innocent_{uuid.uuid4().hex}"
    wk.gauge(innocent).set(3)
    assert exposed()[innocent].samples[0].value == 3
    assert list(strictly_read(answer("application/openmetrics-text; version=1.0.0", "").body.decode()))


def test_a_metric_declared_again_otherwise_leaves_the_first_as_it_is(file: Path) -> None:
    first = wk.histogram("t_twice", "", ["a"], buckets=(1, 2))
    first.labels("x").observe(1)
    others = [
        wk.histogram("t_twice", "", ["a"], buckets=(1, 3)),
        wk.histogram("t_twice", "", ["b"], buckets=(1, 2)),
        wk.counter("t_twice", "", ["a"]),
    ]
    for other in others:
        told: Any = other.labels("x")
        told.inc() if hasattr(told, "inc") else told.observe(5)
    assert wk.histogram("t_twice", "", ["a"], buckets=(1, 2)) is first
    count = next(sample for sample in exposed()["t_twice"].samples if sample.name == "t_twice_count")
    assert count.value == 1


def test_a_function_that_fails_at_collection_takes_no_metric_with_it(file: Path, sink: Sink) -> None:
    def fail() -> float:
        raise ConnectionError("away")

    wk.gauge("t_failing_function").set_function(fail)
    wk.gauge("t_beside_failing").set(1)
    try:
        assert "t_beside_failing" in exposed()
    finally:
        wk.gauge("t_failing_function").set_function(lambda: 0)


# The rest


@pytest.mark.parametrize("name", VALUES)
def test_context_may_be_bound_to_anything(name: str, file: Path, sink: Sink) -> None:
    value = MAKERS[name]()
    with wk.bound_context(user_id=value, tenant_id=value, correlation_id=value, other=value), wk.span("odd"):
        wk.get_logger("shop").info("odd")
    wk.get_logger("shop").info("innocent")
    assert messages(file, sink) == ["odd", "innocent"]
    assert [span.name for span in sink.spans()] == ["odd"]


@pytest.mark.parametrize("argument", ["zz", "", None, 7, -1, [], Unprintable(), "1" * 10_000], ids=shown)
def test_a_trace_that_is_asked_for_may_be_anything(argument: Any, file: Path) -> None:
    assert wk.trace_summary(argument) is None


@pytest.mark.parametrize("limit", [-1, 0, 10**9, None, "3"], ids=shown)
def test_a_limit_of_recent_traces_may_be_anything(limit: Any, file: Path) -> None:
    assert wk.recent_traces(limit) == []


def test_a_coroutine_in_a_field_is_neither_awaited_nor_broken(file: Path, sink: Sink) -> None:
    coroutine = never_awaited()
    wk.get_logger("shop").info("odd", value=coroutine)
    asyncio.run(coroutine)
    assert "odd" in messages(file, sink)


def test_all_those_metrics_can_be_pushed(sink: Sink) -> None:
    wk.gauge("t_pushed_last").set(1)
    wk.configure(sink.options(logs=LogOptions(stream="off")))
    assert wk.flush()
    assert "t_pushed_last" in sink.metrics()


def test_lists_that_hold_one_another_often_are_bounded_as_a_whole() -> None:
    tangle: list[object] = []
    tangle += [tangle, {"again": tangle}] * 500
    copy = snapshot(tangle)
    assert _leaves(copy) <= 2 * MAX_ALL_ITEMS
    assert any("more items" in str(item) for item in copy[0])


def _leaves(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
    return 1 + sum(map(_leaves, inside))
