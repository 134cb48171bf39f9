from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.receive.exposition.histograms import (
    CUSTOM_BUCKETS,
    ClassicHistogram,
    NativeHistogram,
    buckets_of,
    finest_schema,
)
from watchkeeper_server.receive.prompb import TimeSeries

BUCKETS = st.dictionaries(st.integers(-60, 60), st.integers(1, 10**9), max_size=12)


def decoded(histogram: NativeHistogram) -> object:
    [only] = TimeSeries.FromString(histogram.encoded(1_700_000_000_000)).histograms
    return only


@given(BUCKETS, BUCKETS, st.booleans(), st.integers(-4, 8))
def test_what_is_encoded_is_decoded(
    positive: dict[int, int], negative: dict[int, int], floating: bool, schema: int
) -> None:
    histogram = NativeHistogram(
        7, 2.5, schema, 0.001, 3, positive=positive, negative=negative, floating=floating, gauge=True
    )
    message = decoded(histogram)
    assert (message.sum, message.schema, message.timestamp, message.reset_hint) == (2.5, schema, 1_700_000_000_000, 3)
    for buckets, side in ((positive, "positive"), (negative, "negative")):
        counts = list(getattr(message, f"{side}_counts"))
        if not floating:
            total = 0
            counts = [total := total + delta for delta in getattr(message, f"{side}_deltas")]
        spans = [(span.offset, span.length) for span in getattr(message, f"{side}_spans")]
        assert buckets_of(spans, counts) == buckets
    whole = (message.count_int, message.zero_count_int) == (7, 3)
    assert whole is not floating
    assert ((message.count_float, message.zero_count_float) == (7, 3)) is floating


@given(BUCKETS, st.integers(1, 6))
def test_coarser_buckets_cover_what_they_merged(buckets: dict[int, int], steps: int) -> None:
    fine = NativeHistogram(0, 0, 6, positive=buckets)
    coarse = fine.coarser(6 - steps)
    assert sum(coarse.positive.values()) == sum(buckets.values())
    for index in buckets:
        bound = 2 ** (index / 2**6)
        into = next(i for i in sorted(coarse.positive) if 2 ** (i / 2 ** (6 - steps)) >= bound * (1 - 1e-12))
        assert 2 ** ((into - 1) / 2 ** (6 - steps)) <= bound


@given(BUCKETS, st.integers(1, 12))
def test_a_limit_makes_a_histogram_as_coarse_as_it_must_be(buckets: dict[int, int], limit: int) -> None:
    limited = NativeHistogram(0, 0, 8, positive=buckets).limited(limit)
    if limited is None:
        assert len(NativeHistogram(0, 0, 8, positive=buckets).coarser(-4).positive) > limit
    else:
        assert limited.buckets <= limit
        assert (
            limited.schema == 8
            or NativeHistogram(0, 0, 8, positive=buckets).coarser(limited.schema + 1).buckets > limit
        )


def test_custom_buckets_are_not_merged() -> None:
    histogram = NativeHistogram(2, 0, CUSTOM_BUCKETS, positive={0: 1, 1: 1}, bounds=(1.0,))
    assert histogram.limited(1) is None
    assert histogram.limited(2) is histogram


@pytest.mark.parametrize(("factor", "schema"), [(0, 8), (1, 8), (1.1, 2), (1.05, 3), (2, 0), (4, -1), (10**9, -4)])
def test_the_least_factor_says_the_schema(factor: float, schema: int) -> None:
    assert finest_schema(factor) == schema


@pytest.mark.parametrize("spans", [[(0, 1)], [(0, 4)], [(0, 2**40)], []])
def test_spans_that_do_not_fit_their_counts_are_refused(spans: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="do not cover 2 buckets"):
        buckets_of(spans, [1, 2])


@pytest.mark.parametrize(
    "samples",
    [
        [("bucket", 1.0, 5), ("bucket", math.inf, 3)],
        [("bucket", 1.0, -5)],
        [("bucket", math.inf, 3), ("count", 0.0, 4)],
        [("bucket", math.nan, 3)],
        [("sum", 0.0, 3)],
        [("count", 0.0, math.nan)],
    ],
)
def test_classic_samples_that_contradict_each_other_become_nothing(samples: list[tuple[str, float, float]]) -> None:
    classic = ClassicHistogram()
    for sample in samples:
        classic.add(*sample)
    assert classic.converted() is None


def test_classic_samples_may_lack_a_count_or_buckets_and_be_fractions() -> None:
    classic = ClassicHistogram()
    classic.add("bucket", 2.0, 1.5)
    classic.add("bucket", 1.0, 0.5)
    made = classic.converted()
    assert made is not None
    assert (made.count, made.bounds, made.positive, made.floating) == (1.5, (1.0, 2.0), {0: 0.5, 1: 1.0}, True)
    only_count = ClassicHistogram()
    only_count.add("count", 0.0, 4)
    made = only_count.converted()
    assert made is not None
    assert (made.count, made.bounds, made.positive) == (4, (), {0: 4.0})
