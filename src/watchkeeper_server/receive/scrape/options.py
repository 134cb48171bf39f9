"""The scraper's options: what Prometheus takes from its command line or has built in."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ScrapeOptions:
    """What `prometheus.yml` does not say.

    Attributes:
        reload_seconds: how often the configuration's files are looked at for changes; 0 never.
        largest_body_bytes: the largest response, decompressed, of jobs without `body_size_limit`.
        past_seconds: how old a sample's own time may be.
        future_seconds: how far ahead it may be.
        extra_metrics: store `scrape_timeout_seconds` and its like for every job.
        jitter: moves the targets' offsets within their interval, so that two servers do not scrape at once.
    """

    reload_seconds: float = 5.0
    largest_body_bytes: int = 256 * MIB
    past_seconds: float = 3600.0
    future_seconds: float = 600.0
    extra_metrics: bool = False
    jitter: int = 0
