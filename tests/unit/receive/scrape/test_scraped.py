from __future__ import annotations

from typing import Any

import numpy as np

from support.remote_write import batch_of, checked, samples_of
from support.scraping import NOW_MS
from watchkeeper_server.receive.exposition.write_request import (
    encode_exemplar,
    encode_metadata,
    encode_sample,
    encode_series,
    series_head,
)
from watchkeeper_server.receive.sample_batch import CheckedSamples, SampleCheck
from watchkeeper_server.receive.scrape.scraped import KeptSeries, Scraped

HEADS = tuple(series_head([("__name__", name), ("job", "j")]) for name in ("a", "b", "c"))
LATER = NOW_MS + 15_000


def take(scraped: Scraped, check: SampleCheck) -> CheckedSamples:
    verdict = checked(scraped.body(), scraped.decode, check)
    verdict.remember()
    scraped.series.stored = True
    return verdict


def values(*numbers: float) -> Any:
    return np.array(numbers, np.float64)


def test_known_series_are_sent_as_columns_and_come_to_the_same() -> None:
    check = SampleCheck(most_labels=10)
    series = KeptSeries(HEADS)
    first = Scraped(series, values(1, 2, 3), NOW_MS)
    assert first.body() == first.request()
    first_verdict = take(first, check)
    again = Scraped(series, values(4, float("nan"), 6), LATER)
    assert again.body() == b""
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
    assert both.body() == others
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
