"""What a segment of the journal can hold."""

from enum import StrEnum


class Kind(StrEnum):
    """One stream of payloads, with segments of its own."""

    SPANS = "spans"
    LOGS = "logs"
    METRICS = "metrics"
    # Sums that say "so many more" instead of "so many in all" need the total so far, so their segments load in order.
    METRICS_DELTA = "metrics_delta"
    # Columns of samples whose series have ids already, whichever of Prometheus' protocols brought them.
    SAMPLES = "samples"


METRIC_KINDS = (Kind.METRICS, Kind.METRICS_DELTA, Kind.SAMPLES)
