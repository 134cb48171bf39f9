"""Celery in this process: eager tasks, and a worker in a thread over a real RabbitMQ (127.0.0.1:5672).

Workers with processes of their own are in tests/scenario/sdk/test_celery.py. SQS is moto's in-memory back end.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from typing import Any

import celery
import celery.contrib.testing.worker
import kombu
import moto
import pytest
from celery import signals
from celery.exceptions import Ignore, Reject
from opentelemetry.trace import SpanKind, StatusCode

import watchkeeper as wk
from support.sdk import eventually
from watchkeeper.integrations.celery import queue_of, system_of
from watchkeeper.testing import Captured

RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    """Celery's workers set it up for themselves, and leave it so."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def name() -> str:
    return f"wk-celery-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def app(seen: Captured, name: str) -> Iterator[celery.Celery]:
    found = celery.Celery("shop", broker=RABBITMQ, backend="cache+memory://", set_as_current=False)
    found.conf.update(task_default_queue=name, worker_enable_remote_control=False)
    found.conf.broker_heartbeat = 1  # as often does a worker look whether it is to stop
    yield found
    found.close()


@pytest.fixture
def eager(app: celery.Celery) -> celery.Celery:
    app.conf.task_always_eager = True
    return app


def count(seen: Captured, name: str, action: str, status: str = "ok") -> float:
    return seen.metric("queue_messages_total", queue=name, action=action, status=status) or 0.0


def failures(seen: Captured) -> list[str]:
    return [record.message for record in seen.records if "Signal handler" in record.message]


def test_an_eager_task_is_processed_within_whoever_calls_it(seen: Captured, eager: celery.Celery, name: str) -> None:
    @eager.task(name="add", shared=False)
    def add(a: int, b: int) -> int:
        wk.get_logger("x").info("adding")
        return a + b

    with wk.bound_context(correlation_id="work-1"), wk.span("order") as order:
        assert add.delay(1, 2).get() == 3
    processed = seen.span("process add")
    assert (processed.kind, processed.parent_id) == (SpanKind.CONSUMER, order.span_id)
    (record,) = [record for record in seen.records if record.message == "adding"]
    assert (record.span_id, record.correlation_id) == (processed.span_id, "work-1")
    assert (count(seen, name, "process"), count(seen, name, "publish")) == (1, 0)
    assert failures(seen) == []


def test_an_eager_task_counts_for_the_queue_that_it_would_go_to(
    seen: Captured, eager: celery.Celery, name: str
) -> None:
    eager.conf.task_routes = {"routed": {"queue": f"{name}-routed"}}

    @eager.task(name="routed", shared=False)
    def routed() -> None: ...

    routed.delay()
    assert count(seen, f"{name}-routed", "process") == 1


@pytest.mark.parametrize("propagates", [False, True])
def test_an_eager_task_that_fails_is_told_once(
    seen: Captured, eager: celery.Celery, name: str, propagates: bool
) -> None:
    eager.conf.task_eager_propagates = propagates

    @eager.task(name="fail", shared=False)
    def fail() -> None:
        raise LookupError("no such order")

    with pytest.raises(LookupError, match="no such order"):
        fail.delay().get()
    processed = seen.span("process fail")
    assert (processed.status.status_code, processed.attributes["error.type"]) == (StatusCode.ERROR, "LookupError")
    assert len(processed.events) == 1
    assert count(seen, name, "process", "error") == 1
    assert failures(seen) == []


@pytest.mark.parametrize("propagates", [False, True])
@pytest.mark.parametrize(("kind", "status"), [(Ignore, "ignored"), (Reject, "rejected")])
def test_what_a_task_gives_back_is_no_failure(
    seen: Captured, eager: celery.Celery, name: str, kind: Any, status: str, propagates: bool
) -> None:
    eager.conf.task_eager_propagates = propagates

    @eager.task(name="leave", shared=False)
    def leave() -> None:
        raise kind

    leave.delay()
    assert seen.span("process leave").status.status_code is StatusCode.UNSET
    assert count(seen, name, "process", status) == 1


def test_an_unexpected_failure_is_an_error_and_an_expected_one_is_not(seen: Captured, eager: celery.Celery) -> None:
    @eager.task(name="fail", shared=False, throws=(KeyError,))
    def fail(kind: str) -> None:
        raise {"expected": KeyError, "unexpected": LookupError}[kind]("no such order")

    for kind in ("expected", "unexpected"):
        fail.delay(kind)
    assert [error.type for error in seen.errors] == ["LookupError"]
    assert seen.errors[0].trace_id == seen.spans[-1].trace_id


def test_a_worker_in_a_thread_keeps_one_trace_and_counts_its_slots(
    seen: Captured, app: celery.Celery, name: str
) -> None:
    busy: list[float | None] = []

    @app.task(name="add", shared=False, bind=True, max_retries=1)
    def add(self: Any, a: int, b: int) -> int:
        busy.append(seen.metric("queue_workers", state="busy"))
        if not self.request.retries:
            raise self.retry(countdown=0)
        return a + b

    worker = celery.contrib.testing.worker.start_worker(app, perform_ping_check=False, pool="solo")
    with worker, wk.bound_context(correlation_id="work-1"), wk.span("order") as order:
        assert add.apply_async((1, 2), headers={"tenant": "acme"}).get(timeout=10) == 3
    eventually(lambda: count(seen, name, "process"))
    sent, again = (span for span in seen.spans if span.name == "send add")
    first, second = (span for span in seen.spans if span.name == "process add")
    assert (sent.parent_id, first.parent_id) == (order.span_id, sent.span_id)
    assert (again.parent_id, second.parent_id) == (first.span_id, again.span_id)
    assert {span.trace_id for span in seen.spans if "add" in span.name} == {order.trace_id}
    assert (count(seen, name, "publish"), count(seen, name, "receive"), count(seen, name, "process")) == (2, 2, 1)
    assert count(seen, name, "process", "retry") == seen.metric("queue_retries_total", queue=name) == 1
    assert busy == [1, 1]
    assert (seen.metric("queue_workers", state="busy"), seen.metric("queue_workers", state="idle")) == (0, 1)
    assert failures(seen) == []


def test_a_task_that_cannot_be_sent_has_failed(seen: Captured, name: str) -> None:
    app = celery.Celery("shop", broker="amqp://guest@127.0.0.1:1//", set_as_current=False)
    app.conf.update(task_default_queue=name, task_publish_retry=False)
    app.conf.broker_transport_options = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
    with pytest.raises(kombu.exceptions.OperationalError):
        app.send_task("add", (1, 2))
    app.close()
    assert seen.span("send add").status.status_code is StatusCode.ERROR
    assert count(seen, name, "publish", "error") == 1


def test_a_queue_is_known_by_its_exchange_and_key(app: celery.Celery) -> None:
    app.conf.task_queues = [
        kombu.Queue("orders", kombu.Exchange("shop", "topic"), routing_key="order.#"),
        kombu.Queue("mails", kombu.Exchange("mail"), routing_key="mail"),
    ]
    assert queue_of(app, "", "orders") == "orders"
    assert queue_of(app, kombu.Exchange("mail"), "mail") == "mails"
    assert queue_of(app, "shop", "order.7") == "orders"  # the key may be any
    assert queue_of(app, "elsewhere", "order.7") == "elsewhere"


@pytest.mark.parametrize(
    ("url", "system"),
    [
        ("amqp://host//", "rabbitmq"),
        ("rediss://host/0", "redis"),
        ("sentinel://host", "redis"),
        ("sqs://", "aws_sqs"),
        ("memory://", "memory"),
        (None, "rabbitmq"),
        (["pyamqp://a", "pyamqp://b"], "rabbitmq"),
    ],
)
def test_the_broker_is_named_as_opentelemetry_does(url: Any, system: str) -> None:
    assert system_of(celery.Celery("shop", broker=url, set_as_current=False)) == system


def test_what_celery_asks_sqs_for_is_not_counted_twice(
    seen: Captured, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with moto.mock_aws(), kombu.Connection("sqs://testing:testing@", transport_options={"wait_time_seconds": 0}) as sqs:
        app = celery.Celery("shop", broker="sqs://testing:testing@", set_as_current=False)
        app.conf.update(task_default_queue=name, broker_transport_options={"wait_time_seconds": 0})
        app.send_task("add", (1, 2))
        app.close()
        with sqs.SimpleQueue(name) as queue:
            queue.get(timeout=5).ack()
    assert [span.name for span in seen.spans] == ["send add"]
    assert (count(seen, name, "publish"), count(seen, name, "receive")) == (1, 0)


def test_uninstalling_leaves_no_receiver_behind(seen: Captured) -> None:
    found = [signal for signal in vars(signals).values() if isinstance(signal, type(signals.task_prerun))]
    watched = [len(signal.receivers) for signal in found]
    wk.shutdown()
    assert sum(watched) - sum(len(signal.receivers) for signal in found) == 16
    assert type(vars(celery.Celery)["send_task"]).__name__ == "function"
