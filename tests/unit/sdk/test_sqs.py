"""SQS through boto3 against moto's in-memory back end: Amazon's service is not on the machines that run the tests."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import botocore.exceptions
import moto
import pytest
from opentelemetry.trace import SpanKind

import watchkeeper as wk
from support.sdk import serving
from watchkeeper.testing import Captured


@pytest.fixture
def sqs(seen: Captured, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with moto.mock_aws():
        yield boto3.client("sqs", region_name="eu-west-1")


@pytest.fixture
def name() -> str:
    return f"wk-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def url(sqs: Any, name: str) -> str:
    found: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    return found


def count(seen: Captured, name: str, action: str, status: str = "ok") -> float:
    return seen.metric("queue_messages_total", queue=name, action=action, status=status) or 0.0


def attributes_of(count: int) -> dict[str, Any]:
    return {f"a{number}": {"DataType": "String", "StringValue": "1"} for number in range(count)}


def test_a_message_is_received_with_a_link_and_processed_as_a_child(
    seen: Captured, sqs: Any, url: str, name: str
) -> None:
    with wk.bound_context(correlation_id="work-1"), wk.span("order") as order:
        message_id = sqs.send_message(QueueUrl=url, MessageBody="1")["MessageId"]
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    with wk.processing(message, url):
        wk.get_logger("x").info("handled")
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sent, received, processed, deleted = (
        seen.span(f"{what} {name}") for what in ("send", "receive", "process", "delete")
    )
    assert (sent.kind, sent.parent_id) == (SpanKind.PRODUCER, order.span_id)
    assert sent.attributes == {
        "messaging.system": "aws_sqs",
        "messaging.destination.name": name,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": message_id,
        "correlation.id": "work-1",
    }
    assert [link.context.span_id for link in received.links] == [sent.span_id]
    assert (processed.kind, processed.parent_id) == (SpanKind.CONSUMER, sent.span_id)
    assert processed.attributes["messaging.message.id"] == message_id
    assert (deleted.parent_id, deleted.attributes["messaging.operation.type"]) == (processed.span_id, "settle")
    (record,) = [record for record in seen.records if record.message == "handled"]
    assert (record.span_id, record.correlation_id) == (processed.span_id, "work-1")
    assert [count(seen, name, action) for action in ("publish", "receive", "process")] == [1, 1, 1]


def test_a_batch_carries_the_trace_in_each_message(seen: Captured, sqs: Any, url: str, name: str) -> None:
    entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(3)]
    sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert entries[0] == {"Id": "0", "MessageBody": "0"}
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])["Messages"]
    sent = seen.span(f"send {name}")
    assert sent.attributes["messaging.batch.message_count"] == 3
    assert {m["MessageAttributes"]["traceparent"]["StringValue"].split("-")[2] for m in messages} == {
        f"{sent.span_id:016x}"
    }
    assert len(seen.span(f"receive {name}").links) == 3
    assert count(seen, name, "publish") == count(seen, name, "receive") == 3


@pytest.mark.parametrize(("own", "carried"), [(8, 2), (9, 1), (10, 0)])
def test_a_message_has_ten_attributes_at_most(seen: Captured, sqs: Any, url: str, own: int, carried: int) -> None:
    given = attributes_of(own)
    with wk.bound_context(correlation_id="work-1"):
        sqs.send_message(QueueUrl=url, MessageBody="1", MessageAttributes=given)
    assert given == attributes_of(own)
    (message,) = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    added = message["MessageAttributes"].keys() - given.keys()
    assert added == set(["traceparent", "x-correlation-id"][:carried])


def test_what_the_application_wrote_stays(seen: Captured, sqs: Any, url: str) -> None:
    given = {"x-correlation-id": {"DataType": "String", "StringValue": "mine"}}
    with wk.bound_context(correlation_id="theirs"):
        sqs.send_message(QueueUrl=url, MessageBody="1", MessageAttributes=given)
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert message["MessageAttributes"]["x-correlation-id"]["StringValue"] == "mine"


@pytest.mark.parametrize("room", [0, 50])
def test_a_message_as_large_as_may_be_is_sent_as_it_is(
    seen: Captured, sqs: Any, url: str, name: str, room: int
) -> None:
    body = "1" * (1_048_576 - room)
    sqs.send_message(QueueUrl=url, MessageBody=body)
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert "MessageAttributes" not in message
    assert count(seen, name, "publish") == 1


def test_what_is_refused_is_raised_and_told(seen: Captured, sqs: Any, url: str, name: str) -> None:
    gone = url + "-gone"
    with pytest.raises(botocore.exceptions.ClientError):
        sqs.send_message(QueueUrl=gone, MessageBody="1")
    with pytest.raises(botocore.exceptions.ClientError):
        sqs.receive_message(QueueUrl=gone)
    assert seen.span(f"send {name}-gone").attributes["error.type"].endswith("QueueDoesNotExist")
    assert count(seen, f"{name}-gone", "publish", "error") == count(seen, f"{name}-gone", "receive", "error") == 1


def test_messages_of_a_batch_that_were_refused_have_failed(seen: Captured, sqs: Any, url: str, name: str) -> None:
    entries = [{"Id": "1", "MessageBody": "1"}, {"Id": "2", "MessageBody": "2", "DelaySeconds": 10_000}]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [failed["Id"] for failed in answer["Failed"]] == ["2"]
    assert seen.span(f"send {name}").attributes["error.type"] == "partial_failure"
    assert (count(seen, name, "publish"), count(seen, name, "publish", "error")) == (1, 1)


def test_an_empty_queue_is_no_message(seen: Captured, sqs: Any, url: str) -> None:
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert seen.spans == []


def test_the_objects_of_boto3_are_the_same_calls(seen: Captured, sqs: Any, url: str, name: str) -> None:
    queue = boto3.resource("sqs", region_name="eu-west-1").Queue(url)
    queue.send_message(MessageBody="1")
    (message,) = queue.receive_messages()
    with wk.processing(message):
        message.delete()
    assert seen.span(f"process {name}").parent_id == seen.span(f"send {name}").span_id
    assert count(seen, name, "publish") == count(seen, name, "receive") == count(seen, name, "process") == 1


def test_a_message_that_comes_again_counts_as_tried_again(seen: Captured, sqs: Any, url: str, name: str) -> None:
    sqs.send_message(QueueUrl=url, MessageBody="1")
    for _ in range(2):
        sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, AttributeNames=["ApproximateReceiveCount"])
    assert seen.metric("queue_retries_total", queue=name) == 1


def test_the_request_below_is_no_call_of_its_own(seen: Captured, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def answer(handler: Any) -> None:
        body = b'{"MessageId": "m-1"}'
        handler.send_response(200)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with serving() as service:
        service.answers = [answer]
        client = boto3.client("sqs", region_name="eu-west-1", endpoint_url=service.url)
        client.send_message(QueueUrl=f"{service.url}/1/{name}", MessageBody="1")
        client.receive_message(QueueUrl=f"{service.url}/1/{name}")
        client.close()
    assert len(service.requests) == 2
    assert [span.name for span in seen.spans] == [f"send {name}"]


def test_other_services_pass_unwatched(seen: Captured, sqs: Any) -> None:
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="wk-bucket")
    assert seen.spans == []


def test_uninstalling_gives_the_library_back(seen: Captured, sqs: Any) -> None:
    wk.shutdown()
    assert type(vars(botocore.client.BaseClient)["_make_api_call"]).__name__ != "FunctionWrapper"


def test_what_is_no_message_is_refused_with_a_word() -> None:
    with pytest.raises(TypeError, match=r"not pathlib\S*Path"):
        wk.processing(Path()).__enter__()


def test_none_is_no_message_and_nothing_is_told_of_it(seen: Captured, name: str) -> None:
    with wk.processing(None, name) as span:
        span.set_attribute("worked", "all the same")
    assert seen.spans == []


def test_a_mapping_of_any_kind_is_a_message(seen: Captured, name: str) -> None:
    with wk.processing(OrderedDict(MessageId="m-1"), name):
        pass
    assert seen.span(f"process {name}").attributes["messaging.message.id"] == "m-1"


def test_what_fails_in_a_block_is_raised_and_told(seen: Captured, name: str) -> None:
    with pytest.raises(LookupError), wk.processing({"MessageId": "m-1"}, name):
        raise LookupError("no such order")
    assert seen.span(f"process {name}").attributes["error.type"] == "LookupError"
    assert count(seen, name, "process", "error") == 1


def test_a_block_keeps_what_is_bound_around_it(seen: Captured, name: str) -> None:
    with wk.bound_context(tenant_id="acme"), wk.processing({"MessageId": "m-1"}, name):
        wk.get_logger("x").info("handled")
    assert seen.records[-1].fields["tenant_id"] == "acme"
