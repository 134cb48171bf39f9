"""What a segment of the journal can hold."""

from enum import StrEnum


class Kind(StrEnum):
    """One stream of payloads: its own segments, loaded strictly in order by its own statement."""

    SPANS = "spans"
    LOGS = "logs"
    METRICS = "metrics"
    # Sums that say "so many more" instead of "so many in all" need the total so far, so they load by another statement.
    METRICS_DELTA = "metrics_delta"
