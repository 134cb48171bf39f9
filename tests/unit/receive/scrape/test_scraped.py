from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any
from unittest.mock import MagicMock

import numpy as np

from support.remote_write import batch_of, checked, samples_of
from support.scraping import NOW_MS, STALE, samples
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.receive.exposition.write_request import (
    encode_exemplar,
    encode_metadata,
    encode_sample,
    encode_series,
    series_head,
)
from watchkeeper_server.receive.intake import QUICK_BYTES, Intake
from watchkeeper_server.receive.known_series import KnownSeries
from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.remote_write import RemoteWriteReceiver
from watchkeeper_server.receive.sample_batch import CheckedSamples, SampleCheck, Sent
from watchkeeper_server.receive.scrape.scraped import KeptSeries, Scraped

HEADS = tuple(series_head([("__name__", name), ("job", "j")]) for name in ("a", "b", "c"))
LATER = NOW_MS + 15_000


def take(scraped: Scraped, check: SampleCheck) -> CheckedSamples:
    verdict = checked(scraped.others, scraped.decode, check)
    verdict.remember()
    scraped.series.stored = True
    return verdict


def values(*numbers: float) -> Any:
    return np.array(numbers, np.float64)


def test_known_series_are_sent_as_columns_and_come_to_the_same() -> None:
    check = SampleCheck(most_labels=10)
    series = KeptSeries(HEADS)
    first = Scraped(series, values(1, 2, 3), NOW_MS)
    first_verdict = take(first, check)
    assert first_verdict.payload == checked(first.request()).payload
    again = Scraped(series, values(4, float("nan"), 6), LATER)
    verdict = take(again, check)
    assert samples_of(verdict)[0] == ("a", samples_of(first_verdict)[0][1], LATER, 4.0)
    assert verdict.payload == checked(again.request(), check=check).payload


def test_what_comes_beside_them_is_whose_it_was() -> None:
    check = SampleCheck(most_labels=10)
    series = KeptSeries(HEADS)
    take(Scraped(series, values(1, 2, 3), NOW_MS), check)
    new = series_head([("__name__", "new"), ("job", "j")])
    others = b"".join(
        [
            encode_sample(new, 7.0, NOW_MS + 5),
            encode_series(HEADS[1], encode_exemplar([("trace", "x")], 0.5, NOW_MS)),
            encode_metadata("a", "counter", "Text.", ""),
        ]
    )
    both = Scraped(series, values(4, 5, 6), LATER, others)
    verdict = take(both, check)
    expected = checked(both.request(), check=check)
    assert samples_of(verdict) == samples_of(expected)
    assert [(name, value) for name, _, _, value in samples_of(verdict)] == [("a", 4), ("b", 5), ("c", 6), ("new", 7)]
    assert batch_of(verdict).exemplars == batch_of(expected).exemplars
    assert [(one.metric, one.help) for one in batch_of(verdict).metadata] == [("a", "Text.")]
    assert [one.metric for one in batch_of(verdict).series] == ["new"]


def test_series_that_the_receiver_has_forgotten_are_announced_again() -> None:
    check = SampleCheck(most_labels=10)
    series = KeptSeries(HEADS)
    for time in (NOW_MS, LATER):
        take(Scraped(series, values(1, 2, 3), time), check)
    check.forget()
    forgotten = take(Scraped(series, values(4, 5, 6), LATER + 15_000), check)
    assert [one.metric for one in batch_of(forgotten).series] == ["a", "b", "c"]
    known = take(Scraped(series, values(7, 8, 9), LATER + 30_000), check)
    assert not batch_of(known).series
    assert [value for *_, value in samples_of(known)] == [7, 8, 9]


def test_series_that_have_ended_are_told_beside_those_that_are_known_and_those_that_are_new() -> None:
    ended = (series_head([("__name__", "gone"), ("job", "j")]),)
    for known in (False, True):
        check = SampleCheck(most_labels=10)
        series = KeptSeries(HEADS)
        if known:
            take(Scraped(series, values(1, 2, 3), NOW_MS), check)
        scraped = Scraped(series, values(4, 5, 6), LATER, ended=ended)
        assert ('gone{job="j"}', LATER, STALE) in samples(scraped.request())
        expected = checked(scraped.request(), check=check)
        assert samples_of(take(scraped, check))[3][0] == "gone"
        assert len(samples_of(expected)) == 4


def test_the_size_tells_the_work() -> None:
    heads = HEADS * 1000
    series = KeptSeries(heads)
    new = Scraped(series, np.zeros(3000), NOW_MS)
    assert len(new.request()) / 4 < new.size_bytes < len(new.request()) * 4
    series.stored = True
    assert QUICK_BYTES < new.size_bytes < len(new.request()) / 2
    assert Scraped(KeptSeries(()), np.empty(0), NOW_MS, ended=heads).size_bytes > QUICK_BYTES
    assert Scraped(KeptSeries(()), np.empty(0), NOW_MS, bytes(10**6)).size_bytes > QUICK_BYTES
    few = KeptSeries(HEADS)
    few.stored = True
    assert Scraped(few, values(1, 2, 3), NOW_MS, ended=HEADS).size_bytes < QUICK_BYTES


async def test_a_large_scrape_is_checked_in_a_thread_and_a_small_one_where_it_is() -> None:
    threads = []

    @dataclass(frozen=True)
    class Watched(Scraped):
        def decode(self, others: bytes, known: KnownSeries) -> Sent:
            threads.append(threading.current_thread())
            return super().decode(others, known)

    async def append(kind: Kind, payload: bytes) -> None:
        assert kind is Kind.SAMPLES

    receiver = RemoteWriteReceiver(
        append, Intake(ReceiveOptions()), lambda: NOW_MS * 1_000_000, lambda _: None, MagicMock()
    )
    few, many = KeptSeries(HEADS), KeptSeries(HEADS * 1000)
    few.stored = many.stored = True
    for scraped in (
        Watched(few, values(1, 2, 3), NOW_MS),
        Watched(many, np.zeros(3000), NOW_MS),
        Watched(few, values(1, 2, 3), NOW_MS, ended=HEADS * 1000),
    ):
        await receiver.receive(scraped.others, scraped.decode, size_bytes=scraped.size_bytes)
    assert [thread is threading.main_thread() for thread in threads] == [True, False, False]
