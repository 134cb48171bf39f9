"""What the SDK's pieces cost: a span, a log line, an update of a metric, the memory of many series.

CPU of this process, in blocks that take turns; medians. A span has eleven attributes; the calling thread makes and ends
it, then it is redacted and encoded as the export thread does that. A line is said inside a span and formatted as JSON.
Nothing is sent, so that nobody else's CPU is in it.

    python benchmarks/pieces.py
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
import tracemalloc
from collections.abc import Callable

import prometheus_client

import watchkeeper as wk
from watchkeeper.clock import SYSTEM_CLOCK
from watchkeeper.context import Context, attach, detach
from watchkeeper.export.otlp.resource import resource_field
from watchkeeper.export.otlp.spans import SpanEncoder
from watchkeeper.logging.levels import INFO
from watchkeeper.logging.line import JsonLines
from watchkeeper.logging.options import RedactionOptions
from watchkeeper.logging.pipeline import pipeline
from watchkeeper.logging.record import Record
from watchkeeper.logging.writer import Writer
from watchkeeper.metrics.declare import declarations
from watchkeeper.options import ServiceOptions
from watchkeeper.tracing.ids import RandomIds
from watchkeeper.tracing.redaction import redact_by
from watchkeeper.tracing.sampling import always_on
from watchkeeper.tracing.span import Span
from watchkeeper.tracing.tracer import TracerProvider

WARM_UP, ROUNDS, ITEMS, SERIES = 2, 15, 2_000, 10_000
ATTRIBUTES = {
    "shop.order.id": 0,
    "shop.customer": "ada",
    "shop.country": "UK",
    "shop.items": 3,
    "shop.total": 19.99,
    "shop.currency": "GBP",
    "shop.express": True,
    "payment.method": "card",
    "payment.provider": "bank",
    "feature.flag": "new-checkout",
    "retry.count": 0,
}
Blocks = dict[str, Callable[[], None]]

spans: list[Span] = []
records: list[Record] = []
tracer = TracerProvider(spans.append, always_on, RandomIds(), SYSTEM_CLOCK).get_tracer("shop")


class Keeper(Writer):
    """Keeps records instead of writing them."""

    def __init__(self) -> None:
        super().__init__("stdout", JsonLines(ServiceOptions()), 1.0)

    def write(self, record: Record, urgent: bool = False) -> None:  # noqa: ARG002
        """Keeps one."""
        records.append(record)


def blocks_of_spans() -> Blocks:
    encode = SpanEncoder(resource_field({"service.name": "shop"})).encode
    redact = redact_by(RedactionOptions())

    def made() -> None:
        for number in range(ITEMS):
            span = tracer.start_span("place order")
            for key, value in ATTRIBUTES.items():
                span.set_attribute(key, value)
            span.set_attribute("shop.order.id", number)
            span.end()

    def redacted() -> None:
        for span in spans:
            redact(span)

    def encoded() -> None:
        encode(spans)
        spans.clear()

    return {"made": made, "redacted": redacted, "encoded": encoded}


def blocks_of_lines() -> Blocks:
    log = wk.get_logger("shop.orders")
    lines = JsonLines(ServiceOptions(name="shop"))
    numbers = itertools.count()

    def said() -> None:
        for number in range(ITEMS):
            log.info("order shown", order_id=number, customer="ada")

    def said_anew() -> None:
        for number in range(ITEMS):
            log.info("order shown", order_id=number, customer=f"customer {next(numbers)}")

    def formatted() -> None:
        for record in records:
            lines(record)
        records.clear()

    return {"said": said, "formatted": formatted, "said anew": said_anew, "formatted anew": formatted}


def blocks_of_metrics() -> Blocks:
    registry = prometheus_client.CollectorRegistry()
    counter = wk.counter("orders_total", "Orders", ["country"]).labels("UK")
    histogram = wk.histogram("order_seconds", "Orders", ["country"]).labels("UK")
    theirs = prometheus_client.Counter("orders_total", "Orders", ["country"], registry=registry).labels("UK")
    distribution = prometheus_client.Histogram("order_seconds", "Orders", ["country"], registry=registry).labels("UK")
    exemplar = {"trace_id": f"{1:032x}", "span_id": f"{1:016x}"}

    def in_span(call: Callable[..., object], *arguments: object) -> Callable[[], None]:
        def run() -> None:
            for _ in range(ITEMS):
                call(*arguments)

        return run

    def outside(call: Callable[..., object], *arguments: object) -> Callable[[], None]:
        run_in_span = in_span(call, *arguments)

        def run() -> None:
            token = attach(Context())
            run_in_span()
            detach(token)

        return run

    return {
        "counter": outside(counter.inc),
        "their counter": outside(theirs.inc),
        "counter, exemplar": in_span(counter.inc),
        "their counter, exemplar": in_span(theirs.inc, 1, exemplar),
        "histogram": outside(histogram.observe, 0.2),
        "their histogram": outside(distribution.observe, 0.2),
        "histogram, exemplar": in_span(histogram.observe, 0.2),
        "their histogram, exemplar": in_span(distribution.observe, 0.2, exemplar),
    }


def microseconds() -> dict[str, float]:
    """CPU of one item of each block, the median of the rounds."""
    pipeline.wire(INFO, [Keeper()], None)
    blocks = {**blocks_of_spans(), **blocks_of_lines(), **blocks_of_metrics()}
    taken: dict[str, list[float]] = {name: [] for name in blocks}
    with tracer.start_as_current_span("request"):
        for _ in range(WARM_UP + ROUNDS):
            for name, block in blocks.items():
                began = time.process_time()
                block()
                taken[name].append((time.process_time() - began) / ITEMS * 1e6)
    pipeline.wire_defaults()
    return {name: statistics.median(found[WARM_UP:]) for name, found in taken.items()}


def memory_of_series() -> int:
    """Bytes of a counter with so many children, each with two labels."""
    declarations.label_limit = SERIES
    gc.collect()
    tracemalloc.start()
    counter = wk.counter("sold_total", "Sold", ["product", "country"])
    for number in range(SERIES):
        counter.labels(f"product-{number}", "UK").inc()
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size


def row(what: str, figure: str, target: str) -> None:
    print(f"{what:<58} {figure:>10} {target:>10}")


def main() -> None:
    us = microseconds()
    row("", "figure", "target")
    row("span of 11 attributes, in the calling thread", f"{us['made']:.1f} µs", "5 µs")
    row("the same, redacted and encoded too", f"{us['made'] + us['redacted'] + us['encoded']:.1f} µs", "12 µs")
    row("log line, said and formatted", f"{us['said'] + us['formatted']:.1f} µs", "5 µs")
    row("the same, with a text never seen before", f"{us['said anew'] + us['formatted anew']:.1f} µs", "5 µs")
    for name in ("counter", "histogram"):
        row(f"bound {name}; prometheus_client's is the target", f"{us[name]:.2f} µs", f"{us[f'their {name}']:.2f} µs")
        ours, theirs = us[f"{name}, exemplar"], us[f"their {name}, exemplar"]
        row("the same in a sampled span, with an exemplar", f"{ours:.2f} µs", f"{theirs:.2f} µs")
    row(f"memory of {SERIES:,} series", f"{memory_of_series() / 1e6:.1f} MB", "10 MB")


if __name__ == "__main__":
    main()
