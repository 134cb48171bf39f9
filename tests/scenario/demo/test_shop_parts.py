"""The shop's cache, job queue and faults, each on its own."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from shop import jobs as jobs_module
from shop.cache import Cache
from shop.database import Order, OrderLine, open_database
from shop.faults import FaultFile, Faults
from shop.jobs import JobQueue
from shop.orders import latest_orders

if TYPE_CHECKING:
    from pathlib import Path


def test_the_cache_loads_once_until_the_time_is_up() -> None:
    now = 100.0
    loads: list[float] = []

    def load() -> float:
        loads.append(now)
        return now

    cache = Cache[float](ttl_seconds=5.0, clock=lambda: now)
    assert [cache.get("key", load), cache.get("key", load)] == [100.0, 100.0]
    now = 105.0
    assert cache.get("key", load) == 105.0
    assert loads == [100.0, 105.0]


def test_a_full_cache_forgets_the_oldest_entry() -> None:
    cache = Cache[str](ttl_seconds=60, capacity=2)
    for key in ("a", "b", "c"):
        cache.get(key, lambda: "first")
    assert len(cache) == 2
    assert cache.get("c", lambda: "second") == "first"
    assert cache.get("a", lambda: "second") == "second"


def test_a_job_that_fails_is_tried_again() -> None:
    tries = []
    done = threading.Event()

    def work() -> None:
        tries.append(time.monotonic())
        if len(tries) < 2:
            raise ConnectionError("mail server hung up")
        done.set()

    jobs = JobQueue()
    assert jobs.put("mail", work)
    assert done.wait(5)
    jobs.stop()
    assert len(tries) == 2


def test_a_job_that_keeps_failing_is_given_up_and_the_next_one_runs() -> None:
    tries = []
    done = threading.Event()

    def work() -> None:
        tries.append(1)
        raise ConnectionError("mail server hung up")

    jobs = JobQueue()
    jobs.put("mail", work)
    jobs.put("next", done.set)
    assert done.wait(5)
    jobs.stop()
    assert len(tries) == 3


def test_a_full_job_queue_refuses() -> None:
    started, release = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait(5)

    jobs = JobQueue(capacity=1)
    jobs.put("at work", work)
    started.wait(5)
    assert jobs.put("waits", lambda: None)
    assert not jobs.put("refused", lambda: None)
    release.set()
    jobs.stop()


def test_stopping_the_job_queue_does_not_wait_for_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "FIRST_PAUSE_SECONDS", 10)
    failed = threading.Event()

    def work() -> None:
        failed.set()
        raise ConnectionError("mail server hung up")

    jobs = JobQueue()
    jobs.put("mail", work)
    assert failed.wait(5)
    began = time.monotonic()
    jobs.stop()
    assert time.monotonic() - began < 5  # the pause before the second try is 10 s


def test_faults_come_and_go_with_their_file(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    faults = FaultFile(file)
    assert faults.current() == Faults()
    file.write_text('{"card_declined": 1, "report_seconds": 3.5}')
    assert faults.current() == Faults(card_declined=1, report_seconds=3.5)
    file.write_text("{")
    assert faults.current() == Faults(card_declined=1, report_seconds=3.5)
    file.unlink()
    assert faults.current() == Faults()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "expected a JSON object"),
        ('{"card_declind": 1}', "there is no fault 'card_declind'; there are card_declined, payment_slow"),
        ('{"card_declined": 2}', "card_declined must be a number from 0 to 1, not 2"),
        ('{"report_seconds": -1}', "report_seconds must be a number from 0 to 60, not -1"),
        ('{"card_declined": true}', "card_declined must be a number"),
        ('{"card_declined": "often"}', "card_declined must be a number"),
    ],
)
def test_bad_faults_are_refused_with_what_is_possible(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Faults.parse(text)


@pytest.mark.parametrize("number", [1, 4])
def test_latest_orders_ask_the_database_again_for_every_order_and_product(tmp_path: Path, number: int) -> None:
    engine = open_database(tmp_path / "shop.sqlite", seed=7)
    with Session(engine) as session:
        for product_id in range(1, number + 1):
            line = OrderLine(product_id=product_id, quantity=1, price_cents=100)
            session.add(Order(customer="ada", total_cents=100, payment_id="pay_1", lines=[line]))
        session.commit()
    queries: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _u, statement, *_: queries.append(statement))
    with Session(engine) as session:
        assert len(latest_orders(session, "ada")) == number
    engine.dispose()
    assert len(queries) == 1 + 2 * number
