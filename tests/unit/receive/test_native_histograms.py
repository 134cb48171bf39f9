"""Native histograms of remote write: laid out bucket by bucket, and refused where they contradict themselves."""

from __future__ import annotations

import math
from typing import Any

import pytest

from support.remote_write import NOW_MS, batch_of, checked, request_v1
from watchkeeper_server.receive.native_histograms import HistogramError, histogram_fields
from watchkeeper_server.receive.prompb import WriteRequest

UP = {"__name__": "took"}


def histogram(**fields: Any) -> Any:
    """A remote-write histogram; spans are (offset, length) pairs."""
    spans = {name: fields.pop(name) for name in ("positive_spans", "negative_spans") if name in fields}
    made = WriteRequest().timeseries.add().histograms.add(timestamp=NOW_MS, **fields)
    for name, pairs in spans.items():
        for offset, length in pairs:
            getattr(made, name).add(offset=offset, length=length)
    return made


def laid_out(made: Any, most: int = 1000) -> dict[str, Any]:
    return histogram_fields(made, most)


def test_integer_buckets_are_summed_and_gaps_filled() -> None:
    fields = laid_out(
        histogram(
            count_int=12, sum=18.4, schema=1, zero_threshold=0.001, zero_count_int=2, reset_hint=2,
            positive_spans=[(-1, 2), (3, 1)], positive_deltas=[1, 1, -1],
            negative_spans=[(4, 1), (0, 2)], negative_deltas=[2, 0, 0],
        )
    )  # fmt: skip
    assert fields == {
        "count": 12, "sum": 18.4, "schema": 1, "zero_threshold": 0.001, "zero_count": 2, "counter_reset": 2,
        "positive_offset": -1, "positive_counts": [1, 2, 0, 0, 0, 1],
        "negative_offset": 4, "negative_counts": [2, 2, 2], "custom_values": [],
    }  # fmt: skip


def test_float_buckets_are_absolute_counts() -> None:
    fields = laid_out(
        histogram(
            count_float=2.5, sum=1.5, zero_count_float=0.5, positive_spans=[(0, 2)], positive_counts=[1.5, 0.5],
            reset_hint=3,
        )
    )  # fmt: skip
    assert (fields["count"], fields["zero_count"], fields["positive_counts"]) == (2.5, 0.5, [1.5, 0.5])
    assert fields["counter_reset"] == 3


def test_custom_bounds_are_kept() -> None:
    fields = laid_out(
        histogram(
            count_int=6,
            sum=9,
            schema=-53,
            custom_values=[0.5, 1, 2],
            positive_spans=[(1, 3)],
            positive_deltas=[1, 1, 1],
        )
    )
    assert (fields["schema"], fields["custom_values"]) == (-53, [0.5, 1, 2])
    assert (fields["positive_offset"], fields["positive_counts"]) == (1, [1, 2, 3])


def test_an_empty_one_and_a_stale_one_are_taken() -> None:
    assert laid_out(histogram())["positive_counts"] == []
    assert math.isnan(laid_out(histogram(sum=math.nan))["sum"])


def test_observations_that_are_no_number_lie_in_no_bucket() -> None:
    laid_out(histogram(count_int=5, sum=math.nan, zero_count_int=3))


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (histogram(schema=9), "schema 9 is unknown"),
        (histogram(schema=-5), "schema -5 is unknown"),
        (histogram(reset_hint=4), "reset hint 4"),
        (histogram(count_int=1, positive_spans=[(0, 2)], positive_deltas=[1]), "spans are of 2 buckets, it has 1"),
        (histogram(count_int=1, positive_deltas=[1]), "spans are of 0 buckets, it has 1"),
        (histogram(count_int=2, positive_spans=[(0, 1), (-1, 1)], positive_deltas=[1, 0]), "spans overlap"),
        (histogram(count_int=1, positive_spans=[(0, 2)], positive_deltas=[1, -2]), "count is negative"),
        (histogram(count_float=1, positive_spans=[(0, 1)], positive_counts=[-1]), "count is negative"),
        (histogram(count_float=-1), "is negative"),
        (histogram(zero_threshold=-1), "is negative"),
        (histogram(count_int=3, positive_spans=[(0, 1)], positive_deltas=[1]), "hold 1 observations, its count is 3"),
        (histogram(count_int=2, positive_spans=[(0, 1), (2_000, 1)], positive_deltas=[1, 0]), "covers 2,002 buckets"),
        (histogram(count_int=1, positive_spans=[(2_000_000, 1)], positive_deltas=[1]), "beyond all numbers"),
        (histogram(count_int=1, positive_spans=[(-(2**31), 1)], positive_deltas=[1]), "beyond all numbers"),
        (histogram(custom_values=[1]), "only schema -53 has"),
        (histogram(schema=-53, custom_values=[1, 1]), "not finite and ascending"),
        (histogram(schema=-53, custom_values=[math.inf]), "not finite and ascending"),
        (
            histogram(schema=-53, custom_values=[1], count_int=1, positive_spans=[(2, 1)], positive_deltas=[1]),
            "not those of its 1 custom bounds",
        ),
        (
            histogram(schema=-53, custom_values=[1], count_int=1, negative_spans=[(0, 1)], negative_deltas=[1]),
            "no negative buckets",
        ),
        (histogram(schema=-53, custom_values=[1], count_int=1, zero_count_int=1), "no zero bucket"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(made: Any, reason: str) -> None:
    with pytest.raises(HistogramError, match=reason):
        laid_out(made)


def test_a_bad_one_is_named_and_the_others_are_kept() -> None:
    request = request_v1((UP, []), ({"__name__": "other"}, [(NOW_MS, 1)]))
    request.timeseries[0].histograms.append(histogram(schema=77))
    request.timeseries[0].histograms.append(histogram(count_int=3, zero_count_int=3))
    request.timeseries[0].histograms.append(histogram(count_int=3, zero_count_int=3))
    request.timeseries[0].histograms[2].timestamp = -1
    verdict = checked(request.SerializeToString())
    assert (verdict.samples, verdict.histograms, verdict.rejected) == (1, 1, 2)
    assert "took{}: a histogram is not valid: schema 77 is unknown" in verdict.message
    assert "took{}: timestamp -1" in verdict.message


def test_histograms_of_a_request_share_a_bound_on_their_buckets() -> None:
    request = request_v1((UP, []))
    for i in range(3):
        request.timeseries[0].histograms.append(
            histogram(count_int=2, positive_spans=[(-1_000_000, 1), (1_900_000, 1)], positive_deltas=[1, 0])
        )
        request.timeseries[0].histograms[i].timestamp = NOW_MS + i
    verdict = checked(request.SerializeToString())
    assert (verdict.histograms, verdict.rejected) == (2, 1)
    assert "too many for one request" in verdict.message
    assert len(batch_of(verdict).histograms[0].positive_counts) == 1_900_002
