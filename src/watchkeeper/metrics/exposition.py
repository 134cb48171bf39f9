"""`/metrics`: the registry in Prometheus's text format, in OpenMetrics where the scraper asks for it, or as JSON."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import orjson
from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.utils import floatToGoString

from watchkeeper.export.boundary import boundary
from watchkeeper.metrics.declare import declarations
from watchkeeper.metrics.default_labels import WithLabels

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer = tuple[int, str, bytes]  # status, content type, body
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


def answer(accept: str, query: str) -> Answer:
    """The answer to a scrape that sent this Accept header and this query string (`format=json`, or nothing).

    Takes tens of milliseconds with 10,000 series: not for an event loop's own thread. Never raises.
    """
    try:
        asked = parse_qs(query, keep_blank_values=True).get("format", [""])[-1]
        if asked not in {"", "json", "prometheus"}:
            return 400, _PLAIN, f"format is {asked!r}: use json, or prometheus, which is the default\n".encode()
        exposed = WithLabels(registry(), declarations.default_labels)
        with declarations.reading:
            if asked == "json":
                return 200, "application/json", as_json(exposed.collect())
            encode, content_type = choose_encoder(accept)
            return 200, content_type, encode(exposed)
    except Exception as error:  # noqa: BLE001  # a collector of the application's
        boundary.say_once("exposition", f"/metrics cannot be rendered: {error!r}", error)
        return 500, _PLAIN, f"cannot be rendered: {error!r}\n".encode("utf-8", "replace")


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


async def _answered(accept: str, query: str) -> Answer:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another event loop (trio) drives the application
        return answer(accept, query)
    return await asyncio.to_thread(answer, accept, query)


async def serve(scope: MutableMapping[str, Any], send: Send) -> None:
    """Answers a scrape of an ASGI application, from a thread that requests need not wait for."""
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
    status, content_type, body = await _answered(accept, scope.get("query_string", b"").decode("latin-1"))
    headers = [(b"content-type", content_type.encode("latin-1")), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
