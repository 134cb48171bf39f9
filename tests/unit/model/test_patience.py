"""What is done for somebody ends in time, or when they leave."""

from __future__ import annotations

import math
import threading

from watchkeeper_server.model.patience import Asker, answering, asker, left_seconds, limited_to


def test_a_limit_within_a_limit_does_not_extend_it() -> None:
    assert left_seconds() == math.inf
    with limited_to(5):
        with limited_to(1):
            assert 0 < left_seconds() <= 1
        with limited_to(60):
            assert 1 < left_seconds() <= 5
    assert left_seconds() == math.inf


def test_a_limit_is_the_threads_own() -> None:
    seen = []
    with limited_to(1), answering(Asker()):
        thread = threading.Thread(target=lambda: seen.append((left_seconds(), asker())))
        thread.start()
        thread.join()
    assert seen == [(math.inf, None)]


def test_whoever_leaves_stops_what_runs_for_them_and_nothing_else() -> None:
    who, other, stopped = Asker(), Asker(), threading.Event()
    began = threading.Event()

    def work() -> None:
        with who.stopping_with(stopped.set):
            began.set()
            stopped.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    began.wait(10)
    other.leave()
    assert not stopped.is_set()
    who.leave()
    assert stopped.is_set()
    thread.join()


def test_what_cannot_be_stopped_at_once_is_told_again() -> None:
    who, told = Asker(), threading.Semaphore(0)
    began = threading.Event()

    def work() -> None:
        with who.stopping_with(told.release):
            began.set()
            for _ in range(3):
                told.acquire(timeout=10)

    thread = threading.Thread(target=work)
    thread.start()
    began.wait(10)
    who.leave()
    thread.join(10)
    assert not thread.is_alive()
