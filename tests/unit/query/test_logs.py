from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as OtlpRecord

from support.otlp import load, log_record, logs_request
from watchkeeper_server.model.answers import LogRecord
from watchkeeper_server.model.cursors import LogCursor
from watchkeeper_server.model.filters import LogFilter, parse_words
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.model.times import TimeRange, format_time
from watchkeeper_server.query.logs import LogQueries
from watchkeeper_server.store.statements import statement
from watchkeeper_server.store.store import Store

SECOND = 10**9
START = 1_795_240_800 * SECOND  # on a five-minute boundary
RANGE = TimeRange(START, START + 3_600 * SECOND)
TRACE, SPAN = "5b8aa5a2d2c872e8321cf37308d69d00", "051581bf3cb55c00"  # ids that end in a zero byte

Fill = Callable[..., None]


@pytest.fixture
def logs(store: Store) -> LogQueries:
    return LogQueries(store.read)


@pytest.fixture
def fill(store: Store, tmp_path: Path) -> Fill:
    def fill(*records: OtlpRecord, service: str = "shop", resource: dict[str, Any] | None = None) -> None:
        load(store, Kind.LOGS, tmp_path, logs_request(records, service, resource))

    return fill


def found(logs: LogQueries, range_: TimeRange = RANGE, **conditions: Any) -> list[Any]:
    return [record["body"] for record in logs.search(LogFilter(**conditions), range_, 100)["logs"]]


def all_pages(logs: LogQueries, limit: int, between: Callable[[], None] = lambda: None) -> list[LogRecord]:
    records: list[LogRecord] = []
    cursor = None
    while True:
        page = logs.search(LogFilter(), RANGE, limit, cursor)
        records += page["logs"]
        assert len(page["logs"]) <= limit
        if page["next"] is None:
            return records
        cursor = LogCursor.parse(page["next"])
        between()


def test_every_field_of_a_record_is_answered(logs: LogQueries, fill: Fill) -> None:
    fill(
        log_record(
            time=START + 123_456_789,
            observed_time_unix_nano=START + 1,
            severity=17,
            severity_text="ERROR",
            body="card declined",
            attributes={"order.id": 7, "gold": False},
            dropped_attributes_count=3,
            flags=1,
            trace_id=bytes.fromhex(TRACE),
            span_id=bytes.fromhex(SPAN),
            event_name="payment.declined",
        ),
        resource={"host.name": "a", "cores": 8},
    )
    [record] = logs.search(LogFilter(), RANGE, 10)["logs"]
    assert record == {
        "time": "2026-11-21T06:00:00.123456789Z",
        "observed_time": "2026-11-21T06:00:00.000000001Z",
        "severity": "error",
        "severity_number": 17,
        "severity_text": "ERROR",
        "service": "shop",
        "body": "card declined",
        "event_name": "payment.declined",
        "trace_id": TRACE,
        "span_id": SPAN,
        "flags": 1,
        "attributes": {"order.id": 7, "gold": False},
        "dropped_attributes_count": 3,
        "scope": {"name": "tests", "version": "", "attributes": {}, "schema_url": "", "dropped_attributes_count": 0},
        "resource": {
            "attributes": {"service.name": "shop", "host.name": "a", "cores": 8},
            "schema_url": "",
            "dropped_attributes_count": 0,
        },
    }


def test_what_was_not_sent_is_absent(logs: LogQueries, fill: Fill) -> None:
    fill(log_record(time=START, body=None, severity=0))
    [record] = logs.search(LogFilter(), RANGE, 10)["logs"]
    assert (record["trace_id"], record["span_id"], record["observed_time"]) == (None, None, None)
    assert (record["body"], record["severity"]) == (None, "unset")


@pytest.mark.parametrize("body", ["", "text", 0, 7, -(2**63), True, 1.5, {"a": [1, {"b": [2.0]}]}, [], {}])
def test_a_body_keeps_its_type(logs: LogQueries, fill: Fill, body: Any) -> None:
    fill(log_record(time=START, body=body))
    [answered] = found(logs)
    assert (answered, type(answered)) == (body, type(body))


@pytest.mark.parametrize(
    ("words", "bodies"),
    [
        ("timeout", {"Timeout after retry", "gateway timeout"}),
        ("RETRY timeout", {"Timeout after retry"}),
        ("time", set()),
        ("order_id=77", {"paid order_id=77 card"}),
        ("order_id=7", set()),
        ('"card declined"', {"the Card declined again"}),
        ("card declined", {"the Card declined again", "declined: card"}),
        ("GRÖSSE größe", set()),
        ("größe", {"falsche Größe"}),
        ("GRÖßE", {"falsche Größe"}),
        ("=", {"paid order_id=77 card"}),
        ("100%", {"done 100% it's 'fine' \\ \t"}),
        ("'fine' \\", {"done 100% it's 'fine' \\ \t"}),
        ("nowhere", set()),
    ],
)
def test_all_words_must_occur_in_any_order_and_case(logs: LogQueries, fill: Fill, words: str, bodies: set[str]) -> None:
    texts = [
        "Timeout after retry",
        "gateway timeout",
        "paid order_id=77 card",
        "the Card declined again",
        "declined: card",
        "falsche Größe",
        "done 100% it's 'fine' \\ \t",
    ]
    fill(*(log_record(time=START + i, body=text) for i, text in enumerate(texts)))
    assert set(found(logs, words=parse_words(words))) == bodies


def test_words_are_found_alike_with_and_without_the_index(logs: LogQueries, fill: Fill, store: Store) -> None:
    for i in range(3):
        fill(*(log_record(time=START + i * 10 + n, body=f"batch {i} needle{n}") for n in range(5)))
    before = found(logs, words=parse_words("needle3"))
    store._engine.execute("OPTIMIZE TABLE logs FINAL")
    store._engine.execute("ALTER TABLE logs MATERIALIZE INDEX words SETTINGS mutations_sync = 2")
    assert (
        found(logs, words=parse_words("needle3")) == before == ["batch 2 needle3", "batch 1 needle3", "batch 0 needle3"]
    )


def test_a_level_includes_those_above_it_by_number_or_by_text(logs: LogQueries, fill: Fill) -> None:
    fill(
        log_record(time=START + 1, body="debug", severity=5),
        log_record(time=START + 2, body="warn", severity=13),
        log_record(time=START + 3, body="fatal", severity=21),
        log_record(time=START + 4, body="text says error", severity=0, severity_text="Error"),
        log_record(time=START + 5, body="number wins", severity=9, severity_text="ERROR"),
        log_record(time=START + 6, body="says nothing", severity=0),
    )
    assert found(logs, level="warn") == ["text says error", "fatal", "warn"]
    assert found(logs, level="error") == ["text says error", "fatal"]
    assert len(found(logs)) == 6


def test_service_and_ids_restrict(logs: LogQueries, fill: Fill) -> None:
    fill(log_record(time=START, body="mine", trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN)), service="a")
    fill(log_record(time=START, body="other"), service="b")
    assert found(logs, service="a") == found(logs, trace_id=TRACE) == found(logs, span_id=SPAN) == ["mine"]
    assert found(logs, service="b", trace_id=TRACE) == []
    assert found(logs, service="' OR 1=1 --") == []


def test_the_range_holds_its_start_and_not_its_end(logs: LogQueries, fill: Fill) -> None:
    fill(*(log_record(time=time, body=time) for time in (START - 1, START, START + 9, START + 10)))
    assert found(logs, TimeRange(START, START + 10)) == [START + 9, START]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_neither_skip_nor_repeat_also_at_equal_times(logs: LogQueries, fill: Fill, limit: int) -> None:
    times = [START + 5 * SECOND * (i // 4) for i in range(20)]  # four records an instant, some wholly equal
    fill(*(log_record(time=time, body=f"b{i % 3}") for i, time in enumerate(times)))
    records = all_pages(logs, limit)
    assert [record["time"] for record in records] == [format_time(time) for time in sorted(times, reverse=True)]
    assert sorted((r["time"], r["body"]) for r in records) == sorted(
        (format_time(time), f"b{i % 3}") for i, time in enumerate(times)
    )


def test_a_page_ends_and_goes_on_within_equal_records(logs: LogQueries, fill: Fill) -> None:
    fill(*(log_record(time=START, body="same") for _ in range(11)))
    assert len(all_pages(logs, 3)) == 11


def test_what_arrives_between_two_pages_moves_nothing(logs: LogQueries, fill: Fill) -> None:
    fill(*(log_record(time=START + i // 3, body=i) for i in range(12)))
    arriving = iter(range(100, 200))

    def arrive() -> None:
        fill(log_record(time=START + 4 * SECOND, body=next(arriving)))  # newer than all that has been answered

    assert sorted(record["body"] for record in all_pages(logs, 5, arrive)) == list(range(12))


def test_a_full_last_page_has_no_next(logs: LogQueries, fill: Fill) -> None:
    fill(*(log_record(time=START + i, body=i) for i in range(4)))
    assert logs.search(LogFilter(), RANGE, 4)["next"] is None


def test_an_empty_store_answers_an_empty_page(logs: LogQueries) -> None:
    assert logs.search(LogFilter(), RANGE, 10) == {"logs": [], "next": None}
    assert logs.counts(LogFilter(), RANGE, 60)["total"] == 0


def test_counts_are_by_severity_and_piece(logs: LogQueries, fill: Fill) -> None:
    fill(
        log_record(time=START, body="x"),
        log_record(time=START + 59 * SECOND, body="x"),
        log_record(time=START + 60 * SECOND, body="x", severity=17),
        log_record(time=START + 3_599 * SECOND, body="x", severity=0, severity_text="ERROR"),
        log_record(time=START, body="another word"),
    )
    answer = logs.counts(LogFilter(words=parse_words("x")), RANGE, 60)
    assert answer["step_seconds"] == 60
    assert answer["counts"] == {"info": [2, *[0] * 59], "error": [0, 1, *[0] * 57, 1]}
    assert answer["total"] == 4


def test_counts_of_a_range_shorter_than_its_pieces_have_one_a_nanosecond(logs: LogQueries, fill: Fill) -> None:
    fill(log_record(time=START + 2, body="x"))
    assert logs.counts(LogFilter(), TimeRange(START, START + 3), 60)["counts"] == {"info": [0, 0, 1]}


def test_every_statement_over_logs_filters_alike() -> None:
    texts = [statement(name) for name in ("read_log_times", "read_logs", "read_log_counts")]
    filters = [_between(text, "    AND service = {service:String}", "{phrases:Array(String)}), 0)") for text in texts]
    assert len(set(filters)) == 1


def _between(text: str, start: str, end: str) -> str:
    [match] = re.findall(f"{re.escape(start)}.*?{re.escape(end)}", text, re.DOTALL)
    return str(match)
