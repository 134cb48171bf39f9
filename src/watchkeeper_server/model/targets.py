"""What is scraped, as scraping tells it and the API shows it: targets, dropped ones, pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from typing_extensions import TypedDict


class Metadata(TypedDict):
    """What a metric says of itself; `type` is one of Prometheus' types, such as counter, `unknown` if it said none."""

    type: str
    help: str
    unit: str


class Health(StrEnum):
    """How the last scrape went; unknown before the first."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint that is scraped, and how its last scrape went.

    Attributes:
        pool: the scrape config's job name.
        url: what is fetched, parameters included.
        labels: what its series get, after relabelling; none of them begins with `__`.
        discovered_labels: what discovery said, before relabelling.
        interval: between scrapes, as Prometheus writes durations: `1m`.
        timeout: of a scrape, likewise.
        last_error: why the last scrape failed; empty if it did not.
        last_scrape_ns: when the last scrape began, Unix nanoseconds; None before the first.
        last_scrape_seconds: how long it took.
        metadata: by metric, what the last scrape said.
    """

    pool: str
    url: str
    labels: Mapping[str, str]
    discovered_labels: Mapping[str, str]
    interval: str
    timeout: str
    health: Health = Health.UNKNOWN
    last_error: str = ""
    last_scrape_ns: int | None = None
    last_scrape_seconds: float = 0.0
    metadata: Mapping[str, Metadata] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DroppedTarget:
    """What was discovered and relabelling left out."""

    pool: str
    discovered_labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Targets:
    """Everything that scraping knows at one moment.

    Attributes:
        pools: the names of all scrape configs, also of those without targets.
        active: what is scraped.
        dropped: what is not; of many only some may be kept.
        dropped_counts: by pool, how many there are, kept or not.
    """

    pools: Sequence[str] = ()
    active: Sequence[Target] = ()
    dropped: Sequence[DroppedTarget] = ()
    dropped_counts: Mapping[str, int] = field(default_factory=dict)
