"""`/metrics`: the registry in Prometheus's text format, in OpenMetrics where the scraper asks for it, or as JSON."""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

import orjson
from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from watchkeeper.endpoints import Answer, Asked, Endpoint
from watchkeeper.export.boundary import boundary
from watchkeeper.metrics.declare import declarations
from watchkeeper.metrics.default_labels import WithLabels

_WORTH_COMPRESSING = 8_192  # bytes
_PLAIN = "text/plain; charset=utf-8"


def registry() -> CollectorRegistry:
    """What to expose: this process, or all workers where PROMETHEUS_MULTIPROC_DIR makes them share.

    What workers share are counters, gauges, histograms, and the counts and sums of summaries.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return shared


class Exposition(Endpoint):
    """Answers scrapes, from a thread that requests need not wait for."""

    def answer(self, asked: Asked) -> Answer:
        """The registry, in the format that is asked for."""
        return compressed(answer(asked.accept, asked.query), asked.accept_encoding)


class Named(Collector):
    """Of what `inner` collects the families, or samples, of these names."""

    def __init__(self, inner: Collector, names: Iterable[str]) -> None:
        self._inner = inner
        self._names = frozenset(names)

    def collect(self) -> Iterator[Metric]:
        """What has such a name; those of the registry stay untouched."""
        for family in self._inner.collect():
            samples = [sample for sample in family.samples if sample.name in self._names]
            if family.name in self._names:
                yield family
            elif samples:
                found = Metric(family.name, family.documentation, family.type, family.unit)
                found.samples = samples
                yield found


def compressed(found: Answer, accept_encoding: str) -> Answer:
    """The answer in gzip, if the scraper takes that and the body is large enough to be worth it."""
    if len(found.body) < _WORTH_COMPRESSING or not gzip_accepted(accept_encoding):
        return found
    return found._replace(body=gzip.compress(found.body, compresslevel=1), encoding="gzip")


def answer(accept: str, query: str) -> Answer:
    """The answer to a scrape that sent this Accept header and this query string.

    The query may have `format=json`, and `name[]=…`, more than once, for those metrics only. Takes tens of milliseconds
    with 10,000 series: not for an event loop's own thread. Never raises.
    """
    try:
        parameters = parse_qs(query, keep_blank_values=True)
        asked = parameters.get("format", [""])[-1]
        if asked not in {"", "json", "prometheus"}:
            hint = f"format is {asked!r}: use json, or prometheus, which is the default\n"
            return Answer(400, _PLAIN, hint.encode())
        exposed: Collector = WithLabels(registry(), declarations.default_labels)
        if "name[]" in parameters:
            exposed = Named(exposed, parameters["name[]"])
        with declarations.reading:
            if asked == "json":
                return Answer(200, "application/json", as_json(exposed.collect()))
            encode, content_type = choose_encoder(accept)
            return Answer(200, content_type, encode(exposed))
    except Exception as error:  # noqa: BLE001  # a collector of the application's
        boundary.say_once("exposition", f"/metrics cannot be rendered: {error!r}", error)
        return Answer(500, _PLAIN, f"cannot be rendered: {error!r}\n".encode("utf-8", "replace"))


def as_json(families: Iterable[Metric]) -> bytes:
    """Families as `[{name, help, type, samples: [{name, labels, value}]}]`; what JSON has no number for is a string."""
    return orjson.dumps([_family(family) for family in families])


def _family(family: Metric) -> dict[str, Any]:
    samples = [
        {
            "name": sample.name,
            "labels": dict(sample.labels),
            "value": sample.value if math.isfinite(sample.value) else floatToGoString(sample.value),  # type: ignore[no-untyped-call]
        }
        for sample in family.samples
    ]
    return {"name": family.name, "help": family.documentation, "type": family.type, "samples": samples}
