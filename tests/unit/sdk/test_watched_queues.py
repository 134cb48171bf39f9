"""`watch_queue`, with a real RabbitMQ (127.0.0.1:5672) where a broker matters."""

from __future__ import annotations

import math
import os
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pika
import pytest

import watchkeeper as wk
from support.sdk import eventually
from watchkeeper.metrics.sets import queues as metrics
from watchkeeper.queues.part import queues
from watchkeeper.testing import Captured


@pytest.fixture
def watched() -> Iterator[Captured]:
    """Asks ten times a second."""
    options = wk.Options(logs=wk.LogOptions(stream="off"), metrics=wk.MetricOptions(interval_seconds=0.1))
    with wk.testing.capture(options) as seen:
        yield seen
    queues.after_fork()  # forgets what was watched


@pytest.fixture
def name() -> str:
    return f"wk-depth-{uuid.uuid4().hex[:8]}"


def depth(seen: Captured, name: str) -> float | None:
    return seen.metric("queue_depth", queue=name)


def test_the_depth_follows_the_queue(watched: Captured, name: str) -> None:
    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1")) as connection:
        channel = connection.channel()
        channel.queue_declare(name, auto_delete=True)

        def waiting() -> int:
            with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1")) as own:
                answer: Any = own.channel().queue_declare(name, passive=True)
                return int(answer.method.message_count)

        wk.watch_queue(name, waiting)
        eventually(lambda: depth(watched, name) == 0)
        channel.basic_publish("", name, b"1")
        eventually(lambda: depth(watched, name) == 1)
        channel.queue_delete(name)
        eventually(lambda: math.isnan(depth(watched, name) or 0))
    (record,) = [record for record in watched.records if "cannot be told" in record.message]
    assert record.fields["queue"] == name


def test_dead_letters_are_shown_beside(watched: Captured, name: str) -> None:
    wk.watch_queue(name, lambda: 3, dead_letters=lambda: 2)
    eventually(lambda: watched.metric("queue_dead_letters", queue=name) == 2)
    assert depth(watched, name) == 3


def test_what_is_watched_before_configure_is_asked_from_then_on(name: str) -> None:
    asked = threading.Event()

    def waiting() -> int:
        asked.set()
        return 1

    wk.watch_queue(name, waiting)
    assert not asked.wait(0.05)
    with wk.testing.capture() as seen:
        assert asked.wait(5)
        eventually(lambda: depth(seen, name) == 1)
    queues.after_fork()


def test_nobody_is_asked_after_shutdown(watched: Captured, name: str) -> None:
    calls: list[int] = []
    wk.watch_queue(name, lambda: calls.append(1) or 1)
    eventually(lambda: calls)
    wk.shutdown()
    eventually(lambda: not any(thread.name == "watchkeeper-queues" for thread in threading.enumerate()))


def test_a_later_function_replaces_the_first(watched: Captured, name: str) -> None:
    wk.watch_queue(name, lambda: 1)
    eventually(lambda: depth(watched, name) == 1)
    wk.watch_queue(name, lambda: 2)
    eventually(lambda: depth(watched, name) == 2)


def test_what_is_done_to_ask_is_not_watched(watched: Captured, name: str) -> None:
    def waiting() -> int:
        with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1")) as own:
            own.channel().basic_publish("", name, b"1")
        return 1

    wk.watch_queue(name, waiting)
    eventually(lambda: depth(watched, name) == 1)
    assert watched.spans == []


def test_a_child_leaves_asking_to_its_parent_and_asks_what_it_is_told_itself(watched: Captured, name: str) -> None:
    parent = os.getpid()
    read, write = os.pipe()

    def tell(word: bytes) -> int:
        if os.getpid() != parent:
            os.write(write, word)
        return 1

    wk.watch_queue(name, lambda: tell(b"the parent's "))
    child = os.fork()
    if child == 0:
        asked = threading.Event()
        wk.watch_queue(f"{name}-own", lambda: tell(b"its own") and (asked.set() or 1))
        asked.wait(5)
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"its own"
    os.close(read)


def test_processes_that_share_a_directory_show_the_newest_figure() -> None:
    assert metrics()._depth.inner._multiprocess_mode == "livemostrecent"
