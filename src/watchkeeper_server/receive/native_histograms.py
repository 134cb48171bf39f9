"""A native histogram as remote write sends it, judged, and laid out as the store keeps it.

Remote write sends runs of buckets ("spans") with counts, or differences of counts where those are integers. The store
keeps every bucket from the first to the last, so the gaps between runs are bounded.

Source: https://prometheus.io/docs/specs/native_histograms/
"""

from __future__ import annotations

from typing import Any

import numpy as np

from watchkeeper_server.model.errors import WatchkeeperError

CUSTOM_BOUNDS = -53
_COARSEST, _FINEST = -4, 8
_RESET_HINTS = 4
# No finite number lies in a bucket farther out than some 275,000, at the finest schema.
_FARTHEST_BUCKET = 1 << 20

_Floats = np.ndarray[Any, np.dtype[np.float64]]


class HistogramError(WatchkeeperError):
    """A histogram cannot be what it says."""


def histogram_fields(sent: Any, most_buckets: int) -> dict[str, Any]:
    """The fields of a batch's `Histogram` besides metric, id and time.

    Args:
        sent: remote write's `Histogram`, of either version.
        most_buckets: how many it may have, the empty ones between others included.

    Raises:
        HistogramError: its parts contradict each other.
    """
    schema = sent.schema
    custom = schema == CUSTOM_BOUNDS
    if not custom and not _COARSEST <= schema <= _FINEST:
        raise HistogramError(f"schema {schema} is unknown; known are {_COARSEST} to {_FINEST} and {CUSTOM_BOUNDS}")
    if not 0 <= sent.reset_hint < _RESET_HINTS:
        raise HistogramError(f"reset hint {sent.reset_hint} is unknown")
    positive_offset, positive = _dense(sent.positive_spans, sent.positive_deltas, sent.positive_counts, most_buckets)
    negative_offset, negative = _dense(sent.negative_spans, sent.negative_deltas, sent.negative_counts, most_buckets)
    count = float(sent.count_int) or sent.count_float
    zero_count = float(sent.zero_count_int) or sent.zero_count_float
    if count < 0 or zero_count < 0 or sent.zero_threshold < 0:
        raise HistogramError("its count, zero count or zero threshold is negative")
    if custom:
        _check_custom(sent, zero_count, positive_offset + len(positive), positive_offset)
    elif sent.custom_values:
        raise HistogramError(f"it has custom bounds, which only schema {CUSTOM_BOUNDS} has")
    if sent.count_int and not np.isnan(sent.sum):  # NaN observations are counted but lie in no bucket
        in_buckets = float(positive.sum() + negative.sum()) + zero_count
        if in_buckets != count:
            raise HistogramError(f"its buckets hold {in_buckets:.0f} observations, its count is {sent.count_int}")
    return {
        "count": count,
        "sum": sent.sum,
        "schema": schema,
        "zero_threshold": sent.zero_threshold,
        "zero_count": zero_count,
        "positive_offset": positive_offset,
        "positive_counts": positive.tolist(),
        "negative_offset": negative_offset,
        "negative_counts": negative.tolist(),
        "custom_values": list(sent.custom_values),
        "counter_reset": sent.reset_hint,
    }


def _dense(spans: Any, deltas: Any, counts: Any, most_buckets: int) -> tuple[int, _Floats]:
    """The first bucket's index and the counts from there on, those in the gaps too."""
    present = np.array(counts, np.float64) if counts else np.cumsum(np.array(deltas, np.int64)).astype(np.float64)
    gaps = [span.offset for span in spans]
    lengths = [span.length for span in spans]
    if sum(lengths) != len(present):
        raise HistogramError(f"its spans are of {sum(lengths)} buckets, it has {len(present)}")
    if min(gaps[1:], default=0) < 0:
        raise HistogramError("its spans overlap")
    if not len(present):
        return 0, present
    if present.min() < 0:
        raise HistogramError("a bucket's count is negative")
    size = sum(gaps[1:]) + sum(lengths)
    if size > most_buckets:
        raise HistogramError(f"it covers {size:,} buckets, too many for one request; use a coarser schema")
    if max(abs(gaps[0]), abs(gaps[0] + size)) > _FARTHEST_BUCKET:
        raise HistogramError(f"its buckets {gaps[0]:,} to {gaps[0] + size:,} are beyond all numbers")
    dense = np.zeros(size)
    at = taken = 0
    for i, (gap, length) in enumerate(zip(gaps, lengths, strict=True)):
        at += gap if i else 0
        dense[at : at + length] = present[taken : taken + length]
        at, taken = at + length, taken + length
    return gaps[0], dense


def _check_custom(sent: Any, zero_count: float, end: int, start: int) -> None:
    bounds = np.array(sent.custom_values, np.float64)
    if not np.isfinite(bounds).all() or (np.diff(bounds) <= 0).any():
        raise HistogramError("its custom bounds are not finite and ascending")
    if start < 0 or end > len(bounds) + 1:
        raise HistogramError(f"its buckets {start} to {end} are not those of its {len(bounds)} custom bounds")
    if sent.negative_spans or zero_count or sent.zero_threshold:
        raise HistogramError("with custom bounds there are no negative buckets and no zero bucket")
