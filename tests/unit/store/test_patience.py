"""A query of the store takes no longer than whoever asked waits, and nothing of it is left behind."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from watchkeeper_server.model.errors import StoreBusyError, StoreError, StoreTimeoutError
from watchkeeper_server.model.patience import Asker, answering, limited_to
from watchkeeper_server.store.embedded import READERS
from watchkeeper_server.store.engine import Engine

ENDLESS = "SELECT count() AS n FROM numbers(1000000000000) WHERE sipHash64(number) = 1"
RUNNING = "SELECT count() AS n FROM system.processes WHERE query LIKE '%sipHash64(number)%' AND query NOT LIKE '%LIKE%'"


def test_a_query_takes_as_long_as_is_left(engine: Engine) -> None:
    began = time.monotonic()
    with limited_to(0.4), pytest.raises(StoreTimeoutError):
        engine.query(ENDLESS)
    assert 0.3 < time.monotonic() - began < 1.5
    with limited_to(0), pytest.raises(StoreTimeoutError):
        engine.query("SELECT 1")
    assert engine.query("SELECT 1 AS n").to_pylist() == [{"n": 1}]


def test_who_waits_for_a_reader_waits_no_longer_than_is_left(engine: Engine) -> None:
    def occupy() -> None:
        with limited_to(2), pytest.raises(StoreTimeoutError):
            engine.query(ENDLESS)

    threads = [threading.Thread(target=occupy) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 5
    while engine.query(RUNNING, own=True).to_pylist() != [{"n": READERS}]:
        assert time.monotonic() < deadline
    began = time.monotonic()
    with limited_to(0.2), pytest.raises(StoreTimeoutError):
        engine.query("SELECT 1")
    assert time.monotonic() - began < 1
    for thread in threads:
        thread.join()


def test_a_query_ends_when_whoever_asked_leaves(engine: Engine) -> None:
    who, errors = Asker(), []

    def ask() -> None:
        with ExitStack() as stack:
            stack.enter_context(answering(who))
            errors.append(stack.enter_context(pytest.raises(StoreBusyError)))
            engine.query(ENDLESS)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    who.leave()
    thread.join(10)
    assert time.monotonic() - began < 2
    assert engine.query(RUNNING).to_pylist() == [{"n": 0}]
    with answering(who), pytest.raises(StoreBusyError, match="has left"):
        engine.query("SELECT 1")


def test_what_a_failed_query_had_answered_is_not_in_the_answer_to_the_next(engine: Engine) -> None:
    for _ in range(READERS):  # on whichever connection
        with pytest.raises(StoreError):
            engine.query("SELECT number, throwIf(number = 3000000) FROM numbers(10000000)")
    for _ in range(READERS):
        assert engine.query("SELECT 1 AS n").to_pylist() == [{"n": 1}]
