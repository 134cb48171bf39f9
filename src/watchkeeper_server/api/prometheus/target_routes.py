"""Routes that say what is scraped."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from watchkeeper_server.api.prometheus.answering import Answer
from watchkeeper_server.api.prometheus.errors import naming
from watchkeeper_server.api.prometheus.facts import ServerFacts
from watchkeeper_server.api.prometheus.parameters import Parameters
from watchkeeper_server.api.prometheus.results import sorted_labels
from watchkeeper_server.model.targets import Target, Targets
from watchkeeper_server.model.times import format_time
from watchkeeper_server.promql.matchers import matches
from watchkeeper_server.promql.parser import parse_selector

NEVER = "0001-01-01T00:00:00Z"
"""How Go writes a time that is none."""

_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


class TargetRoutes:
    """Shows targets."""

    def __init__(self, targets: Callable[[], Targets], facts: Callable[[], ServerFacts]) -> None:
        self._targets = targets
        self._facts = facts

    def targets(self, parameters: Parameters) -> Answer:
        """What is scraped and what was left out; by `state` only one of them, by `scrapePool` only of one pool."""
        targets, external_url = self._targets(), self._facts().external_url
        state, pool = parameters.text("state").lower(), parameters.text("scrapePool")
        active, dropped = state in ("", "any", "active"), state in ("", "any", "dropped")
        return Answer(
            {
                "activeTargets": [
                    _target(target, external_url)
                    for target in sorted(targets.active if active else (), key=lambda target: target.pool)
                    if pool in ("", target.pool)
                ],
                "droppedTargets": [
                    {"discoveredLabels": sorted_labels(target.discovered_labels), "scrapePool": target.pool}
                    for target in sorted(targets.dropped if dropped else (), key=lambda target: target.pool)
                    if pool in ("", target.pool)
                ],
                "droppedTargetCounts": dict(targets.dropped_counts) if dropped else None,
            }
        )

    def metadata(self, parameters: Parameters) -> Answer:
        """What the targets' metrics, or one of them, say of themselves."""
        limit, metric = parameters.optional_limit("limit"), parameters.text("metric")
        with naming("match_target"):
            selector = parse_selector(parameters.text("match_target") or "{}")
        found = (
            {"target": sorted_labels(target.labels), **({} if metric else {"metric": name}), **metadata}
            for target in self._targets().active
            if all(matches(matcher, target.labels.get(matcher.name, "")) for matcher in selector)
            for name, metadata in target.metadata.items()
            if metric in ("", name)
        )
        return Answer(list(islice(found, limit)))

    def scrape_pools(self, _: Parameters) -> Answer:
        """The names of all scrape configs."""
        return Answer({"scrapePools": sorted(self._targets().pools)})


def _target(target: Target, external_url: str) -> dict[str, Any]:
    return {
        "discoveredLabels": sorted_labels(target.discovered_labels),
        "labels": sorted_labels(target.labels),
        "scrapePool": target.pool,
        "scrapeUrl": target.url,
        "globalUrl": global_url(target.url, external_url),
        "lastError": target.last_error,
        "lastScrape": NEVER if target.last_scrape_ns is None else format_time(target.last_scrape_ns),
        "lastScrapeDuration": target.last_scrape_seconds,
        "health": target.health,
        "scrapeInterval": target.interval,
        "scrapeTimeout": target.timeout,
    }


def global_url(url: str, external_url: str) -> str:
    """A target's address as it is from outside: where it is this machine, the name that this server is reached by.

    The server itself, known by its port, is reached exactly there.
    """
    try:
        parts, external = urlsplit(url), urlsplit(external_url)
        _ = parts.port
    except ValueError:  # not an address; its scrapes say so
        return url
    if parts.hostname not in _LOCAL_HOSTS or not external.hostname:
        return url
    if parts.port == external.port:
        return parts._replace(scheme=external.scheme, netloc=external.netloc).geturl()
    host = f"[{external.hostname}]" if ":" in external.hostname else external.hostname
    return parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
