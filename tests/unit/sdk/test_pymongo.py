"""PyMongo, the real driver, against a server of the tests' own that speaks its protocol (`support.mongodb`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymongo
import pytest
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.trace import SpanKind, StatusCode
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError, OperationFailure

import watchkeeper as wk
from support.mongodb import MongoDB, batch, duplicate, mongodb, refusal, written
from watchkeeper import testing
from watchkeeper.integrations import pymongo as integration
from watchkeeper.integrations.pymongo import MOST_UNDER_WAY, Commands, shape
from watchkeeper.testing import Captured


@pytest.fixture
def server() -> Iterator[MongoDB]:
    with mongodb() as found:
        found.replies["insert"] = found.replies["update"] = written
        yield found


@pytest.fixture
def client(seen: Captured, server: MongoDB) -> Iterator[pymongo.MongoClient[Any]]:
    with pymongo.MongoClient("127.0.0.1", server.port, retryWrites=False, retryReads=False) as found:
        yield found


def queries(operation: str, table: str, status: str = "ok") -> float:
    return Captured.metric("db_queries_total", operation=operation, table=table, status=status) or 0.0


def test_a_command_is_a_client_span_and_a_query_without_its_values(
    seen: Captured, client: pymongo.MongoClient[Any], server: MongoDB
) -> None:
    server.replies["find"] = batch({"_id": 1})
    before = queries("find", "orders")
    with wk.span("work") as work:
        found = list(client.shop.orders.find({"status": "paid", "total": {"$gt": 7}, "tags": {"$in": ["a", "b"]}}))
    assert found == [{"_id": 1}]
    span = seen.span("find orders")
    assert (span.kind, span.parent_id) == (SpanKind.CLIENT, work.span_id)  # type: ignore[attr-defined]
    assert span.attributes == {
        "db.system.name": "mongodb",
        "db.namespace": "shop",
        "db.collection.name": "orders",
        "db.operation.name": "find",
        "db.query.summary": "find orders",
        "db.query.text": '{"find":"orders","filter":{"status":"?","total":{"$gt":"?"},"tags":{"$in":"?"}}}',
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }
    assert queries("find", "orders") == before + 1


def test_a_batch_of_documents_says_how_many_and_none_of_them(
    seen: Captured, client: pymongo.MongoClient[Any], server: MongoDB
) -> None:
    client.shop.orders.insert_many([{"card": "4111111111111111"} for _ in range(3)])
    span = seen.span("insert orders")
    assert span.attributes["db.operation.batch.size"] == 3
    assert span.attributes["db.query.text"] == '{"insert":"orders"}'
    assert len(server.commands[-1]["documents"]) == 3


def test_cursors_and_aggregations_are_told_by_their_collection(
    seen: Captured, client: pymongo.MongoClient[Any], server: MongoDB
) -> None:
    server.replies["aggregate"] = batch({"n": 1}, cursor=77)
    server.replies["getMore"] = batch({"n": 2}, name="nextBatch")
    pipeline = [{"$match": {"status": "paid"}}, {"$group": {"_id": "$user", "n": {"$sum": 1}}}]
    assert list(client.shop.orders.aggregate(pipeline)) == [{"n": 1}, {"n": 2}]
    assert [span.name for span in seen.spans] == ["aggregate orders", "getMore orders"]
    text = '{"aggregate":"orders","pipeline":[{"$match":{"status":"?"}},{"$group":{"_id":"?","n":{"$sum":"?"}}}]}'
    assert seen.spans[0].attributes["db.query.text"] == text


def test_a_refused_command_tells_its_code_and_no_values(
    seen: Captured, client: pymongo.MongoClient[Any], server: MongoDB
) -> None:
    server.replies["find"] = refusal(2, "BadValue", "unknown operator: hunter2")
    with pytest.raises(OperationFailure, match="hunter2"):
        client.shop.orders.find_one({"password": {"hunter2": 1}})
    span = seen.span("find orders")
    assert span.attributes["db.response.status_code"] == span.attributes["error.type"] == "2"
    assert span.status_code is StatusCode.ERROR
    assert not span.events
    kind = Captured.metric("db_query_errors_total", operation="find", table="orders", type="2")
    assert kind is not None
    assert kind >= 1


def test_a_write_that_was_answered_and_not_done_is_a_failure(
    seen: Captured, client: pymongo.MongoClient[Any], server: MongoDB
) -> None:
    before = queries("insert", "users", "error")
    server.replies["insert"] = duplicate
    with pytest.raises(DuplicateKeyError):
        client.shop.users.insert_one({"email": "jo@shop.example"})
    with pytest.raises(BulkWriteError):
        client.shop.users.insert_many([{"email": "jo@shop.example"}])
    assert [span.attributes["error.type"] for span in seen.spans] == ["11000", "11000"]
    assert "jo@shop.example" not in str([(span.attributes, span.events) for span in seen.spans])
    assert queries("insert", "users", "error") == before + 2


def test_a_connection_that_is_lost_is_an_error_by_its_name(
    seen: Captured, client: pymongo.MongoClient[Any], server: MongoDB
) -> None:
    server.replies["find"] = None
    with pytest.raises(AutoReconnect):
        client.shop.orders.find_one()
    span = seen.span("find orders")
    assert span.attributes["error.type"] == "AutoReconnect"
    assert "db.response.status_code" not in span.attributes


async def test_asyncios_client_is_watched_likewise(seen: Captured, server: MongoDB) -> None:
    server.replies["find"] = batch({"_id": 1})
    async with pymongo.AsyncMongoClient("127.0.0.1", server.port) as client:
        with wk.span("work") as work:
            assert await client.shop.orders.find_one({"_id": 1}) == {"_id": 1}
            await client.shop.orders.update_one({"_id": 1}, {"$set": {"status": "paid"}})
    found = [span for span in seen.spans if span.name != "work"]
    assert [span.name for span in found] == ["find orders", "update orders"]
    assert {span.parent_id for span in found} == {work.span_id}  # type: ignore[attr-defined]
    text = '{"update":"orders","updates":[{"q":{"_id":"?"},"u":{"$set":{"status":"?"}}'
    assert str(found[1].attributes["db.query.text"]).startswith(text)


def test_handshakes_and_housekeeping_make_no_spans(
    seen: Captured, client: pymongo.MongoClient[Any], server: MongoDB
) -> None:
    client.admin.command("ping")
    client.close()
    assert "endSessions" in {next(iter(command)) for command in server.commands}
    assert [span.name for span in seen.spans] == ["ping"]


def test_what_is_suppressed_is_not_watched(seen: Captured, client: pymongo.MongoClient[Any], server: MongoDB) -> None:
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    client.shop.orders.insert_one({})
    detach(token)
    assert seen.spans == []


def test_a_client_is_given_back_and_watched_again(server: MongoDB) -> None:
    registered = pymongo.monitoring._LISTENERS.command_listeners
    with testing.capture() as seen, pymongo.MongoClient("127.0.0.1", server.port) as client:
        assert len(registered) == 1
        client.shop.orders.insert_one({})
        wk.shutdown()
        assert registered == []
        before = queries("insert", "orders")
        client.shop.orders.insert_one({})
        assert queries("insert", "orders") == before
        with testing.capture() as again:
            client.shop.orders.insert_one({})
        assert queries("insert", "orders") == before + 1
    assert [span.name for span in (*seen.spans, *again.spans)] == ["insert orders", "insert orders"]


def test_a_listener_that_is_the_applications_hears_what_it_always_did(seen: Captured, server: MongoDB) -> None:
    heard = []

    class Listener(pymongo.monitoring.CommandListener):
        def started(self, event: Any) -> None:
            heard.append(event.command_name)

        def succeeded(self, event: Any) -> None:
            heard.append(event.reply["ok"])

        def failed(self, event: Any) -> None:
            heard.append(event.failure)

    with pymongo.MongoClient("127.0.0.1", server.port, event_listeners=[Listener()]) as client:
        client.shop.orders.insert_one({})
    assert heard[:2] == ["insert", 1.0]


def test_commands_without_an_end_fill_no_memory(seen: Captured) -> None:
    commands = Commands()

    class Event:
        command_name, database_name, connection_id = "find", "shop", ("db.example", 27_017)

        def __init__(self, request_id: int) -> None:
            self.request_id = request_id
            self.command = {"find": "orders"}

    for number in range(MOST_UNDER_WAY + 10):
        commands.begin(Event(number))
    assert len(commands._under_way) == MOST_UNDER_WAY
    commands.end(Event(3), {"ok": 1.0})
    commands.end(Event(MOST_UNDER_WAY + 9), {"ok": 1.0})
    assert [span.name for span in seen.spans] == ["find orders"]


def test_a_failure_of_ours_is_not_the_applications(
    client: pymongo.MongoClient[Any], production: None, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def fail(*_args: Any) -> Any:
        raise RuntimeError("no statements today")

    monkeypatch.setattr(integration, "_statement", fail)
    assert client.shop.orders.insert_one({"_id": 7}).inserted_id == 7
    assert "Traceback" not in capfd.readouterr().err


def test_the_shape_of_a_query_is_bounded() -> None:
    deep: Any = "secret"
    for _ in range(50):
        deep = {"$and": [deep, deep]}
    assert "secret" not in str(shape(deep))
    assert len(str(shape({f"field{n}": n for n in range(1_000)}))) < 1_000
    assert shape([1, 2, 3]) == "?"
