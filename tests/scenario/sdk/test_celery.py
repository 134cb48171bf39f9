"""Celery workers as they are run: prefork, over a real RabbitMQ and a real Redis, from the first fork to the last exit.

One worker per broker runs everything once, all of them at the same time; each test says what must be true of what came
out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import pytest
import redis
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from support.sdk import Sink, attributes, eventually, serving

ADDED = 20  # tasks that merely succeed
PER_CHILD = 8  # tasks after which a child is replaced

WORKER = ("-l", "info", "-c", "2", "--without-gossip", "--without-mingle", "--without-heartbeat")

TASKS = """
import logging, os, sys, time
import celery
import watchkeeper as wk
from celery.exceptions import Ignore, Reject

wk.configure()
app = celery.Celery("shop", broker=os.environ["BROKER"], backend="redis://127.0.0.1:6379/13")
app.conf.update(
    task_default_queue=os.environ["QUEUE"],
    broker_transport_options={"global_keyprefix": os.environ["QUEUE"]} if "redis" in os.environ["BROKER"] else {},
    result_backend_transport_options={"global_keyprefix": os.environ["QUEUE"]},
    worker_lost_wait=0.2,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    beat_schedule={"tick": {"task": "tasks.tick", "schedule": 0.3}},
    beat_schedule_filename=os.environ["QUEUE"],
)
log = wk.get_logger("shop")

@app.task
def add(a, b):
    log.info("adding", a=a)
    logging.getLogger("shop.std").warning("adding, by logging")
    print("adding, by print")
    return a + b

@app.task
def fail():
    raise LookupError("no such order")

@app.task(bind=True, max_retries=2)
def flaky(self):
    try:
        raise ConnectionError("busy")
    except ConnectionError as error:
        raise self.retry(exc=error, countdown=0)

@app.task
def ignore():
    raise Ignore

@app.task(acks_late=True)
def reject():
    raise Reject("not mine", requeue=False)

@app.task(time_limit=1)
def hang():
    wk.flush()  # of what ran here before
    time.sleep(30)

@app.task
def die():
    wk.flush()  # of what ran here before
    os._exit(3)

@app.task
def slow():
    log.info("slow begins")
    time.sleep(1)
    return "slow"

@app.task
def total(numbers):
    return sum(numbers)

@app.task(ignore_result=True)
def tick():
    log.info("tick")
"""

PRODUCER = """
import sys
from celery import chain, chord
from tasks import *

with wk.bound_context(correlation_id="work-1"), wk.span("order"):
    results = [add.delay(number, 1) for number in range(int(sys.argv[1]))]
    results += [chain(add.s(1, 1), add.s(2)).delay(), chord([add.s(1, 1), add.s(2, 2)], total.s()).delay()]
    results += [add.apply_async((1, 1), countdown=0.2)]
    print(sum(result.get(timeout=30) for result in results))
for task in (fail, flaky, ignore, reject, hang, die):
    task.delay()
add.apply_async((1, 1), countdown=0.6, expires=0.3)
"""
SUCCEEDED = ADDED + 2 + 3 + 1  # besides these: the chain, the chord and the late one
EXPECTED = {
    ("receive", "ok"): SUCCEEDED + 7 + 2,  # and those that end otherwise, with two retries
    ("process", "ok"): SUCCEEDED,
    ("process", "error"): 4,  # fail, flaky in the end, hang and die
    ("process", "retry"): 2,
    ("process", "ignored"): 1,
    ("process", "rejected"): 1,
    ("process", "expired"): 1,
    ("publish", "ok"): SUCCEEDED + 7 + 2,
}


@dataclass
class Run:
    """A worker's life."""

    sink: Sink
    queue: str
    system: str
    lines: list[dict[str, Any]]  # of its log
    stdout: str
    stderr: str
    returncode: int

    def spans(self, name: str) -> list[Any]:
        return [span for span in self.sink.spans() if span.name == name]

    def said(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["message"] == message]


def counts(sink: Sink, queue: str, name: str = "queue_messages") -> Counter[tuple[str, ...]]:
    """What all processes counted, each by its last word."""
    last: dict[tuple[str, ...], float] = {}
    for body in sink.bodies("/v1/metrics"):
        for of_process in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            instance = attributes(of_process.resource)["service.instance.id"]
            for metric in (metric for scope in of_process.scope_metrics for metric in scope.metrics):
                for point in metric.sum.data_points if metric.name in {name, f"{name}_total"} else ():
                    labels = attributes(point)
                    if labels["queue"] == queue:
                        key = (labels.get("action", ""), labels.get("status", ""))
                        last[instance, *key] = point.as_double or point.as_int
    total: Counter[tuple[str, ...]] = Counter()
    for (_, *key), value in last.items():
        total[tuple(key)] += int(value)
    return total


def start(folder: Path, sink: Sink, broker: str, queue: str, *arguments: str) -> subprocess.Popen[bytes]:
    (folder / "tasks.py").write_text(TASKS)
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tasks", "worker", *WORKER, *arguments],
            cwd=folder,
            env=environment(sink, broker, queue),
            stdout=stdout,
            stderr=stderr,
        )


def environment(sink: Sink, broker: str, queue: str) -> dict[str, str]:
    return {
        **os.environ,
        "BROKER": broker,
        "QUEUE": queue,
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "WATCHKEEPER_STRICT": "false",
    }


def produce(folder: Path, sink: Sink, broker: str, queue: str, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        cwd=folder,
        env={**environment(sink, broker, queue), "WATCHKEEPER_LOG_STREAM": "off"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


BROKERS = {"rabbitmq": "amqp://guest:guest@127.0.0.1:5672//", "redis": "redis://127.0.0.1:6379/13"}


def clean(queue: str) -> None:
    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1")) as connection:
        channel = connection.channel()
        channel.queue_delete(queue)
        channel.exchange_delete(queue)
    with redis.Redis(db=13) as client:
        for key in client.scan_iter(f"*{queue}*"):
            client.delete(key)


@contextmanager
def working(folder: Path, sink: Sink, broker: str, *arguments: str) -> Iterator[tuple[str, list[Run]]]:
    """A worker, on a queue of its own; its life is in the list once it has ended."""
    queue, runs = f"wk-celery-{uuid.uuid4().hex[:8]}", list[Run]()
    worker = start(folder, sink, BROKERS[broker], queue, *arguments)
    try:
        yield queue, runs
        worker.terminate()
        worker.wait(20)
        stdout, stderr = ((folder / name).read_text() for name in ("stdout", "stderr"))
        lines = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
        runs.append(Run(sink, queue, broker, lines, stdout, stderr, worker.returncode))
    finally:
        worker.kill()
        worker.wait()
        clean(queue)


def processed(found: Mapping[tuple[str, ...], int]) -> int:
    return sum(count for (action, _), count in found.items() if action == "process")


def run_everything(folder: Path, sink: Sink, broker: str) -> Run:
    with working(folder, sink, broker, "--max-tasks-per-child", str(PER_CHILD)) as (queue, runs):
        assert int(produce(folder, sink, BROKERS[broker], queue, PRODUCER, str(ADDED)))
        with suppress(AssertionError):  # then the tests say what is missing
            eventually(lambda: time.sleep(0.2) or processed(counts(sink, queue)) >= processed(EXPECTED), 30)
    return runs[0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    with ExitStack() as sinks, ThreadPoolExecutor() as pool:
        started = {
            broker: pool.submit(run_everything, tmp_path_factory.mktemp(broker), sinks.enter_context(serving()), broker)
            for broker in BROKERS
        }
        yield {broker: found.result() for broker, found in started.items()}


@pytest.fixture(params=list(BROKERS))
def run(request: pytest.FixtureRequest, runs: dict[str, Run]) -> Run:
    return runs[request.param]


def test_each_message_is_counted_once_by_whoever_saw_its_end(run: Run) -> None:
    assert dict(counts(run.sink, run.queue)) == EXPECTED
    assert counts(run.sink, run.queue, "queue_retries")["", ""] == 2


def test_no_span_is_lost_or_doubled_by_forks(run: Run) -> None:
    spans = run.sink.spans()
    assert len({span.span_id for span in spans}) == len(spans)
    sent = {span.span_id: span for span in spans if span.name.startswith("send ")}
    processed = [span for span in spans if span.name.startswith("process ")]
    assert len(sent) == EXPECTED["publish", "ok"]
    # All but what was killed while it ran, and what had expired before. A killed one may have come to say so.
    killed = [span for span in processed if span.name in {"process tasks.hang", "process tasks.die"}]
    assert len(processed) - len(killed) == EXPECTED["receive", "ok"] - 3
    assert len({span.parent_span_id for span in processed}) == len(processed)
    assert all(span.trace_id == sent[span.parent_span_id].trace_id for span in processed)
    assert {attributes(span)["messaging.system"] for span in [*sent.values(), *processed]} == {run.system}
    assert {attributes(span)["messaging.destination.name"] for span in processed} == {run.queue}


def test_what_celery_says_to_its_broker_makes_no_spans_of_its_own(run: Run) -> None:
    """What a task says to Redis does, its results for one."""
    names = {span.span_id: span.name for span in run.sink.spans()}
    others = [span for span in run.sink.spans() if span.name.partition(" ")[0] not in {"order", "send", "process"}]
    assert others
    assert {names.get(span.parent_span_id, "").partition(" ")[0] for span in others} <= {"process", "order"}


def test_each_child_speaks_for_itself_and_is_heard_to_its_end(run: Run) -> None:
    children = {line["pid"] for line in run.said("adding")}
    assert len(children) > SUCCEEDED // PER_CHILD
    assert len(run.said("adding")) == SUCCEEDED - 1  # the total of the chord


def test_every_line_comes_out_once_with_its_trace(run: Run) -> None:
    processed = {span.span_id.hex(): span.trace_id.hex() for span in run.spans("process tasks.add")}
    for message in ("adding", "adding, by logging", "adding, by print"):
        said = run.said(message)
        assert Counter(line["span_id"] for line in said) == dict.fromkeys(processed, 1)
        assert {line["correlation_id"] for line in said} == {"work-1"}
        assert all(line["trace_id"] == processed[line["span_id"]] for line in said)
    succeeded = [line for line in run.lines if "tasks.add" in line["message"] and "succeeded" in line["message"]]
    assert Counter(line["span_id"] for line in succeeded) == dict.fromkeys(processed, 1)
    assert {(line["task_name"], "data" in line) for line in succeeded} == {("tasks.add", False)}  # arguments stay out
    assert "ForkPoolWorker" not in run.stderr  # Celery's own format
    assert "Traceback" not in run.stderr
    assert "Signal handler" not in run.stdout


def test_a_chain_and_a_chord_are_one_trace(run: Run) -> None:
    (order,) = run.spans("order")
    (total,) = run.spans("process tasks.total")
    assert total.trace_id == order.trace_id
    assert attributes(total)["correlation.id"] == "work-1"
    (sent,) = run.spans("send tasks.total")
    assert sent.parent_span_id in {span.span_id for span in run.spans("process tasks.add")}


def test_a_failed_task_says_why_and_a_retry_has_not_failed(run: Run) -> None:
    (failed,) = run.spans("process tasks.fail")
    assert (failed.status.code, attributes(failed)["error.type"]) == (2, "LookupError")
    (event,) = failed.events
    assert "no such order" in attributes(event)["exception.stacktrace"]
    flaky = sorted(run.spans("process tasks.flaky"), key=lambda span: span.start_time_unix_nano)
    assert [(attributes(span)["celery.state"], span.status.code) for span in flaky] == [
        ("RETRY", 0),
        ("RETRY", 0),
        ("FAILURE", 2),
    ]
    assert len({span.trace_id for span in flaky}) == 1
    assert [attributes(span)["celery.retries"] for span in flaky] == [0, 1, 2]
    for name in ("ignore", "reject"):
        (span,) = run.spans(f"process tasks.{name}")
        assert span.status.code == 0


def test_a_worker_that_is_told_to_stop_finishes_and_tells_and_beat_begins_traces(tmp_path: Path) -> None:
    with serving() as sink:
        with working(tmp_path, sink, "redis", "--beat") as (queue, runs):
            produce(tmp_path, sink, BROKERS["redis"], queue, "from tasks import *\nslow.delay()")
            eventually(lambda: b"slow begins" in (tmp_path / "stdout").read_bytes(), 15)
            eventually(lambda: b'"tick"' in (tmp_path / "stdout").read_bytes(), 15)
        (run,) = runs
        assert run.returncode == 0
        assert len(run.spans("process tasks.slow")) == 1
        ticks = run.spans("process tasks.tick")
        assert counts(sink, queue)["process", "ok"] == 1 + len(ticks)
    sent = {span.span_id: span for span in run.spans("send tasks.tick")}
    assert len({span.trace_id for span in ticks}) == len(ticks)
    assert all(sent[span.parent_span_id].parent_span_id == b"" for span in ticks)
    assert len({line["correlation_id"] for line in run.said("tick")}) == len(ticks)


def test_a_worker_whose_collector_is_gone_works_and_leaves(tmp_path: Path) -> None:
    with serving() as sink:
        pass
    program = "from tasks import *\nprint(add.delay(1, 1).get(timeout=20))"
    with working(tmp_path, sink, "redis") as (queue, runs):
        assert produce(tmp_path, sink, BROKERS["redis"], queue, program).strip() == "2"
    assert runs[0].returncode == 0
