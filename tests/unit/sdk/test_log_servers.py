"""Lines to Loki and to Elasticsearch or OpenSearch, against servers that take what theirs document."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import watchkeeper as wk
from support.log_servers import ElasticServer, LokiServer, running
from support.sdk import Sink, dropped, eventually
from watchkeeper import ConfigurationError, LogOptions, Options, QueueOptions, ServiceOptions
from watchkeeper.client import Client, start_client
from watchkeeper.export import exporter
from watchkeeper.export.boundary import boundary
from watchkeeper.health.options import HealthOptions
from watchkeeper.logging.elasticsearch import BulkEncoder, date_suffix, index_of
from watchkeeper.logging.loki import LONGEST_LINE, LokiEncoder
from watchkeeper.logging.pipeline import pipeline
from watchkeeper.logging.record import Failure, Record
from watchkeeper.logging.server_options import ElasticsearchOptions, LokiOptions
from watchkeeper.testing import FakeClock

SHOP = ServiceOptions(name="shop", version="1.2", environment="production")
NOON = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()) * 10**9
log = wk.get_logger("shop.orders")


@pytest.fixture(autouse=True)
def silent(production: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests make the servers refuse; and what is said once is said anew in each of them."""
    monkeypatch.setattr(boundary, "_said", set())
    monkeypatch.setattr(exporter, "FIRST_BACKOFF", 0.02)


@pytest.fixture
def loki() -> Iterator[LokiServer]:
    server = LokiServer()
    with running(server):
        yield server
        wk.shutdown(0.5)


@pytest.fixture
def elastic() -> Iterator[ElasticServer]:
    server = ElasticServer()
    with running(server):
        yield server
        wk.shutdown(0.5)


def configure(clock: FakeClock | None = None, export: Any = None, **logs: Any) -> None:
    options = Options(
        service=SHOP,
        export=export or {},
        logs=LogOptions(stream="off", capture=False, **logs),
        queue=QueueOptions(delay_seconds=0.02),
        health=HealthOptions(checks=()),  # which would say what it thinks of these servers
    )
    wk.shutdown(0.5)
    if clock is None:
        wk.configure(options)
    else:
        start_client(Client(options, clock.clock()))


def to_loki(server: LokiServer, **changes: Any) -> dict[str, Any]:
    return {"loki": LokiOptions(server.url, **changes)}


def to_elastic(server: ElasticServer, **changes: Any) -> dict[str, Any]:
    return {"elasticsearch": ElasticsearchOptions(server.url, **changes)}


def record(message: str = "order placed", time_ns: int = NOON, **changes: Any) -> Record:
    return Record(time_ns, 20, "shop", message, {}, 0, 0, 0, "", "", None)._replace(**changes)


# Both, and OTLP


def test_each_line_goes_to_every_server_that_is_named(loki: LokiServer, elastic: ElasticServer, sink: Sink) -> None:
    configure(export=sink.options().export, **to_loki(loki), **to_elastic(elastic))
    log.info("order placed", order_id=7)
    assert wk.flush()
    assert [entry.labels["level"] for entry in loki.entries["fake"]] == ["info"]
    assert [document["order_id"] for document in elastic.all()] == [7]
    assert [item.body.string_value for item in sink.records()] == ["order placed"]


def test_with_one_server_a_line_is_offered_to_its_queue_directly(loki: LokiServer) -> None:
    configure(**to_loki(loki))
    assert pipeline._offer == wk.client.running_client().lanes["logs_loki"].queue.offer  # type: ignore[union-attr]


def test_secrets_reach_no_server(loki: LokiServer, elastic: ElasticServer) -> None:
    configure(**to_loki(loki), **to_elastic(elastic))
    log.warning("login password=hunter2", api_key="k-123456", note="token=abcdef")
    assert wk.flush()
    told = loki.asked[-1].body + elastic.asked[-1].body
    assert not any(secret in told for secret in (b"hunter2", b"k-123456", b"abcdef"))
    assert b"redacted" in told


@pytest.mark.parametrize("name", ["loki", "elastic"])
def test_a_server_that_is_down_costs_the_other_nothing_and_its_drops_are_counted(
    name: str, loki: LokiServer, elastic: ElasticServer
) -> None:
    gone = "http://127.0.0.1:9"
    targets: dict[str, Any] = (
        {"loki": LokiOptions(gone), **to_elastic(elastic)}
        if name == "loki"
        else {"elasticsearch": ElasticsearchOptions(gone, keep_days=3), **to_loki(loki)}
    )
    configure(**targets)
    signal = "logs_loki" if name == "loki" else "logs_elasticsearch"
    before = dropped(signal, "unreachable")
    for number in range(5):
        log.info("placed", order_id=number)
    eventually(lambda: len(elastic.all() if name == "loki" else loki.entries.get("fake", [])) == 5)
    wk.shutdown(1.0)
    assert dropped(signal, "unreachable") == before + 5


def test_a_queue_that_is_full_drops_and_counts_for_its_own_server(loki: LokiServer, elastic: ElasticServer) -> None:
    configure(**to_loki(loki), **to_elastic(elastic))
    client = wk.client.running_client()
    assert client is not None
    client.lanes["logs_loki"].queue.capacity = 0
    before = dropped("logs_loki", "queue_full")
    log.info("placed")
    assert wk.flush()
    assert len(elastic.all()) == 1
    assert dropped("logs_loki", "queue_full") == before + 1


def test_captured_lines_of_a_test_go_nowhere_else(loki: LokiServer) -> None:
    with wk.testing.capture(Options(logs=LogOptions(stream="off", loki=LokiOptions(loki.url)))) as seen:
        log.info("placed")
        wk.flush()
    assert seen.messages() == ["placed"]
    assert loki.asked == []


# Loki


def test_a_stream_is_a_service_an_environment_and_a_level_and_the_ids_are_metadata(loki: LokiServer) -> None:
    clock = FakeClock(NOON)
    configure(clock, **to_loki(loki, labels={"region": "eu"}))
    with wk.span("checkout") as span:
        log.info("order placed", order_id=7)
    log.error("declined")
    assert wk.flush()
    first, second = loki.entries["fake"]
    assert first.labels == {"service": "shop", "environment": "production", "level": "info", "region": "eu"}
    assert second.labels["level"] == "error"
    context = span.get_span_context()
    assert first.metadata == {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    assert second.metadata == {}
    assert first.time_ns == NOON
    line = json.loads(first.line)
    assert (line["message"], line["order_id"], line["timestamp"]) == ("order placed", 7, "2026-11-21T12:00:00.000000Z")


def test_metadata_can_be_left_out_for_an_old_loki() -> None:
    encode = LokiEncoder(LokiOptions("http://x", metadata=False), SHOP).encode
    (stream,) = json.loads(encode([record(trace_id=5, span_id=6, request_id="r")]))["streams"]
    assert len(stream["values"][0]) == 2


def test_lines_of_a_stream_are_in_the_order_of_their_times() -> None:
    told = [record(f"line {at}", NOON + at) for at in (3, 1, 2)] + [record("other", NOON, level=40)]
    streams = json.loads(LokiEncoder(LokiOptions("http://x"), SHOP).encode(told))["streams"]
    assert [[int(value[0]) - NOON for value in stream["values"]] for stream in streams] == [[0], [1, 2, 3]]


def test_levels_that_an_application_invents_make_no_streams() -> None:
    told = [record(level=number) for number in range(1, 100)]
    streams = json.loads(LokiEncoder(LokiOptions("http://x"), SHOP).encode(told))["streams"]
    assert len(streams) <= 8


def test_a_line_longer_than_loki_takes_goes_without_its_fields() -> None:
    huge = record(fields={f"f{number}": "ü" * 2_000 for number in range(500)}, failure=Failure("E", "m", "s" * 60_000))
    (stream,) = json.loads(LokiEncoder(LokiOptions("http://x"), SHOP).encode([huge]))["streams"]
    line = stream["values"][0][1]
    assert len(line.encode()) < LONGEST_LINE
    assert json.loads(line)["fields_left_out"] == 500


@pytest.mark.parametrize("value", ["\ud800", "a\nb\0c", b"\xff", 2**63, float("nan"), {"k": ("\udfff",)}])
def test_any_value_reaches_loki_and_elasticsearch(loki: LokiServer, elastic: ElasticServer, value: Any) -> None:
    configure(**to_loki(loki), **to_elastic(elastic))
    with wk.bound_context(correlation_id="\ud800"):
        log.info("odd %r", value, value=value, **{"k\ud800": 1})
    assert wk.flush()
    assert len(loki.entries["fake"]) == 1
    assert len(elastic.all()) == 1


def test_tenant_and_password_are_sent_to_loki_below_any_path(loki: LokiServer) -> None:
    configure(
        loki=LokiOptions(
            f"{loki.url}/loki/api/v1/push", tenant="acme", username="u", password="p", headers={"x-a": "1"}
        )
    )
    log.info("placed")
    assert wk.flush()
    assert list(loki.entries) == ["acme"]
    headers = loki.asked[0].headers
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"u:p"
    assert headers["x-a"] == "1"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_loki_is_tried_again_when_it_is_busy_or_away(loki: LokiServer, status: int) -> None:
    loki.replies = [(status, "slow down", {"retry-after": "0"})]
    configure(**to_loki(loki))
    log.info("placed")
    eventually(lambda: "fake" in loki.entries)
    assert len(loki.asked) == 2


def refusal(count: int) -> str:
    return (
        "entry with timestamp 2026-11-21 08:00:00 +0000 UTC ignored, reason: 'entry too far behind, oldest acceptable "
        f"timestamp is: 2026-11-21T11:00:00Z',\nuser 'fake', total ignored: {count} out of 3 for stream: {{}}"
    )


def test_lines_that_loki_finds_too_old_are_counted_and_the_others_are_not(
    loki: LokiServer, caplog: pytest.LogCaptureFixture
) -> None:
    loki.replies = [(400, refusal(2))]
    configure(**to_loki(loki))
    before = dropped("logs_loki", "out_of_order")
    for _ in range(3):
        log.info("placed")
    with caplog.at_level(logging.WARNING, "watchkeeper"):
        assert wk.flush()
    assert dropped("logs_loki", "out_of_order") == before + 2
    assert "total ignored: 2 out of 3" in caplog.text
    assert len(loki.asked) == 1


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("entry for stream '{}' has timestamp too old: 2020-01-01T00:00:00Z", "too_old"),
        ("Max entry size '262144' bytes exceeded", "http_400"),
    ],
)
def test_what_loki_refuses_without_telling_how_much_counts_as_the_whole_request(
    loki: LokiServer, told: str, reason: str
) -> None:
    loki.replies = [(400, told)]
    configure(**to_loki(loki))
    before = dropped("logs_loki", reason)
    log.info("one")
    log.info("two")
    assert wk.flush()
    assert dropped("logs_loki", reason) == before + 2


# Elasticsearch and OpenSearch


def test_documents_are_ecs_in_the_index_of_their_own_day(elastic: ElasticServer) -> None:
    clock = FakeClock(NOON + 12 * 3_600 * 10**9 - 1)  # the last nanosecond of the day
    configure(clock, **to_elastic(elastic))
    log.info("before midnight", order_id=7)
    clock.advance(1e-9)
    log.info("after midnight")
    assert wk.flush()
    assert list(elastic.documents) == ["logs-shop-2026.11.21", "logs-shop-2026.11.22"]
    (document,) = elastic.documents["logs-shop-2026.11.21"].values()
    assert (document["message"], document["order_id"], document["service.name"]) == ("before midnight", 7, "shop")
    assert document["log.level"] == "info"


@pytest.mark.parametrize(
    ("interval", "day", "suffix"),
    [
        ("daily", 20_778, "-2026.11.21"),
        ("monthly", 20_778, "-2026.11"),
        ("weekly", 20_778, "-2026.w47"),
        ("weekly", 20_819, "-2026.w53"),  # 2027-01-01 belongs to the last week of 2026
        ("none", 20_778, ""),
    ],
)
def test_an_index_is_dated_by_day_week_or_month(interval: str, day: int, suffix: str) -> None:
    assert date_suffix(interval, day) == suffix


@pytest.mark.parametrize(
    ("service", "index"),
    [
        ("shop", "logs-shop"),
        ("Order Service/EU", "logs-order-service-eu"),
        ("_x", "logs-x"),
        ("日本", "logs-unknown_service"),
    ],
)
def test_an_index_is_named_by_the_service_as_elasticsearch_allows(service: str, index: str) -> None:
    assert index_of(ElasticsearchOptions("http://x"), ServiceOptions(name=service)) == index


def test_a_logstash_document_has_our_own_words_and_a_timestamp() -> None:
    encode = BulkEncoder(ElasticsearchOptions("http://x", format="logstash", index="app"), SHOP).encode
    action, document = map(json.loads, encode([record()]).splitlines())
    assert action["create"]["_index"] == "app-2026.11.21"
    assert (document["@timestamp"], document["level"]) == ("2026-11-21T12:00:00.000000Z", "info")


def test_a_batch_whose_answer_was_lost_is_there_once(elastic: ElasticServer) -> None:
    before = dropped("logs_elasticsearch", "version_conflict_engine_exception")
    answer = elastic.answer
    elastic.answer = lambda asked: (answer(asked), (503, "gateway gave up"))[1]  # type: ignore[method-assign]
    configure(**to_elastic(elastic))
    log.info("placed")
    eventually(lambda: len(elastic.asked) >= 1)
    elastic.answer = answer  # type: ignore[method-assign]
    eventually(lambda: len(elastic.asked) >= 2)
    assert wk.flush()
    assert len(elastic.all()) == 1
    assert dropped("logs_elasticsearch", "version_conflict_engine_exception") == before


def test_of_a_batch_the_busy_documents_are_tried_again_and_the_bad_ones_counted_by_their_reason(
    elastic: ElasticServer,
) -> None:
    busy = {"b"}

    def judge(document: dict[str, Any]) -> tuple[int, str]:
        if document["message"] in busy:
            busy.discard(document["message"])
            return 429, "es_rejected_execution_exception"
        return (400, "document_parsing_exception") if document["message"] == "c" else (201, "")

    elastic.judge = judge
    configure(**to_elastic(elastic))
    before = dropped("logs_elasticsearch", "document_parsing_exception")
    for message in "abcd":
        log.info(message)
    eventually(lambda: len(elastic.all()) == 3)
    assert sorted(document["message"] for document in elastic.all()) == ["a", "b", "d"]
    assert len(elastic.asked[1].body.splitlines()) == 2
    assert dropped("logs_elasticsearch", "document_parsing_exception") == before + 1


def test_reasons_of_refusal_that_a_server_makes_up_make_no_series(elastic: ElasticServer) -> None:
    elastic.judge = lambda document: (400, document["message"])
    configure(**to_elastic(elastic))
    before = dropped("logs_elasticsearch", "rejected")
    for number in range(50):
        log.info("made_up_%d", number)
    log.info("not a word")
    assert wk.flush()
    assert dropped("logs_elasticsearch", "rejected") == before + 51 - 32


def test_who_is_no_elasticsearch_takes_nothing(elastic: ElasticServer) -> None:
    elastic.replies = [(200, "<html>please log in</html>")]
    configure(**to_elastic(elastic))
    before = dropped("logs_elasticsearch", "unreadable_answer")
    log.info("placed")
    assert wk.flush()
    assert dropped("logs_elasticsearch", "unreadable_answer") == before + 1


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        ({"username": "u", "password": "p"}, "Basic dTpw"),
        ({"api_key": "abc="}, "ApiKey abc="),
        ({"headers": {"Authorization": "Bearer x"}}, "Bearer x"),
    ],
)
def test_the_way_to_log_in_is_chosen(elastic: ElasticServer, changes: dict[str, Any], header: str) -> None:
    configure(**to_elastic(elastic, keep_days=1, **changes))
    log.info("placed")
    assert wk.flush()
    assert {asked.headers["authorization"] for asked in elastic.asked} == {header}


@pytest.mark.parametrize("distribution", ["elasticsearch", "opensearch"])
def test_a_template_and_a_policy_are_made_once_before_the_first_line(elastic: ElasticServer, distribution: str) -> None:
    elastic.distribution = distribution
    configure(**to_elastic(elastic, keep_days=30))
    for message in "ab":
        log.info(message)
        assert wk.flush()
    template = elastic.templates["logs-shop"]
    assert template["index_patterns"] == ["logs-shop-20*"]
    policy = elastic.policies["logs-shop"]["policy"]
    if distribution == "opensearch":
        assert policy["states"][0]["transitions"][0]["conditions"] == {"min_index_age": "744h"}  # 30 days and its own
        assert policy["ism_template"][0]["index_patterns"] == ["logs-shop-20*"]
    else:
        assert policy["phases"]["delete"]["min_age"] == "744h"
        assert template["template"]["settings"]["index.lifecycle.name"] == "logs-shop"
    assert [asked.method for asked in elastic.asked] == ["GET", "GET", "PUT", "GET", "PUT", "POST", "POST"]


def test_a_policy_that_is_there_is_left_as_it_is(elastic: ElasticServer) -> None:
    elastic.policies["logs-shop"] = elastic.templates["logs-shop"] = mine = {"mine": True}
    configure(**to_elastic(elastic, keep_days=30))
    log.info("placed")
    assert wk.flush()
    assert elastic.policies["logs-shop"] is elastic.templates["logs-shop"] is mine
    assert len(elastic.all()) == 1


@pytest.mark.parametrize("at", range(5))
def test_a_refused_policy_is_said_once_and_the_lines_go_on(
    elastic: ElasticServer, caplog: pytest.LogCaptureFixture, at: int
) -> None:
    elastic.replies = [None] * at + [(403, {"error": "security_exception"})]
    configure(**to_elastic(elastic, keep_days=30))
    with caplog.at_level(logging.WARNING, "watchkeeper"):
        for message in "ab":
            log.info(message)
            assert wk.flush()
    assert caplog.text.count("could not make a lifecycle policy") == 1
    assert "security_exception" in caplog.text
    assert len(elastic.all()) == 2


def test_a_policy_waits_for_a_server_that_is_away(elastic: ElasticServer) -> None:
    elastic.replies = [(503, "starting"), None, (429, "busy")]
    configure(**to_elastic(elastic, keep_days=30))
    log.info("placed")
    eventually(elastic.all)
    assert "logs-shop" in elastic.policies
    assert "logs-shop" in elastic.templates


# Options


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WATCHKEEPER_LOG_LOKI", "loki:3100", "http:// or https://"),
        ("WATCHKEEPER_LOG_LOKI", "http://u:secret@loki", "user or a password"),
        ("WATCHKEEPER_LOG_LOKI_LABELS", "a-b=1", "letters, digits and underscores"),
        ("WATCHKEEPER_LOG_LOKI_LABELS", "level=1", "already"),
        ("WATCHKEEPER_LOG_LOKI_LABELS", ",".join(f"l{n}=1" for n in range(13)), "Loki takes 15"),
        ("WATCHKEEPER_LOG_LOKI_FORMAT", "xml", "json, logstash, ecs"),
        ("WATCHKEEPER_LOG_LOKI_METADATA", "maybe", "true or false"),
        ("WATCHKEEPER_LOG_LOKI_CERTIFICATE", "/nowhere.pem", "no such file"),
        ("WATCHKEEPER_LOG_ELASTICSEARCH", "ftp://x", "http:// or https://"),
        ("WATCHKEEPER_LOG_ELASTICSEARCH_INDEX", "Shop", "lower case"),
        ("WATCHKEEPER_LOG_ELASTICSEARCH_INTERVAL", "hourly", "daily, weekly, monthly"),
        ("WATCHKEEPER_LOG_ELASTICSEARCH_KEEP_DAYS", "-1", "at least 0"),
        ("WATCHKEEPER_LOG_ELASTICSEARCH_TIMEOUT", "nan", "at least 1"),
    ],
)
def test_a_bad_variable_is_named_with_what_would_be_right(name: str, value: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Options.from_environment({name: value})
    assert name in str(raised.value)
    assert told in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_environment_names_servers() -> None:
    logs = Options.from_environment(
        {
            "WATCHKEEPER_LOG_LOKI": "http://loki:3100",
            "WATCHKEEPER_LOG_LOKI_TENANT": "acme",
            "WATCHKEEPER_LOG_LOKI_LABELS": "region=eu",
            "WATCHKEEPER_LOG_LOKI_TIMEOUT": "2500",
            "WATCHKEEPER_LOG_ELASTICSEARCH": "https://search:9200",
            "WATCHKEEPER_LOG_ELASTICSEARCH_API_KEY": "key",
            "WATCHKEEPER_LOG_ELASTICSEARCH_INTERVAL": "weekly",
            "WATCHKEEPER_LOG_ELASTICSEARCH_KEEP_DAYS": "30",
        }
    ).logs
    assert logs.loki == LokiOptions("http://loki:3100", "acme", labels={"region": "eu"}, timeout_seconds=2.5)
    assert logs.elasticsearch == ElasticsearchOptions(
        "https://search:9200", api_key="key", interval="weekly", keep_days=30
    )


def test_passwords_and_keys_are_not_in_the_options_own_text() -> None:
    told = repr(LokiOptions("http://x", password="hunter2")) + repr(ElasticsearchOptions("http://x", api_key="hunter2"))
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"elasticsearch": ElasticsearchOptions("http://x", interval="none", keep_days=3)}, "lifecycle"),
        ({"elasticsearch": ElasticsearchOptions("http://x", username="u", api_key="k")}, "one of them"),
        ({"loki": LokiOptions("http://x", tenant="a\r\nb: c")}, "line break"),
        ({"elasticsearch": ElasticsearchOptions("http://x", api_key="VnVh…")}, "'api_key' holds a character"),
    ],
)
def test_options_that_do_not_go_together_are_named(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        wk.configure(Options(logs=LogOptions(**changes)))
