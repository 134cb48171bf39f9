"""The SDK's own metrics: declared like the application's, but they claim no names.

Where the application has a metric of the same name, that one is shown and ours is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import prometheus_client as prometheus

from watchkeeper.metrics.declare import SECONDS_BUCKETS, Counter, Gauge, Histogram, declarations
from watchkeeper.metrics.exemplars import BatchHistogram, ExemplarCounter


def standard_counter(name: str, doc: str, labels: Sequence[str] = ()) -> Counter:
    """A counter of ours."""
    return declarations.declare(  # type: ignore[return-value]
        Counter, ExemplarCounter, name, doc, labels, standard=True
    )


def standard_gauge(name: str, doc: str, labels: Sequence[str] = (), *, shared: bool = False) -> Gauge:
    """A gauge of ours. Workers that share a directory add theirs up; those that have died no longer count.

    `shared` says that all of them look at the same thing: then the newest figure holds.
    """
    mode = "livemostrecent" if shared else "livesum"
    return declarations.declare(  # type: ignore[return-value]
        Gauge, prometheus.Gauge, name, doc, labels, standard=True, multiprocess_mode=mode
    )


def standard_histogram(
    name: str, doc: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS_BUCKETS
) -> Histogram:
    """A histogram of ours."""
    return declarations.declare(  # type: ignore[return-value]
        Histogram, BatchHistogram, name, doc, labels, standard=True, buckets=tuple(buckets)
    )
