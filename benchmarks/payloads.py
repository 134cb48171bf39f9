"""OTLP requests that look like a web shop's, made once and then renewed cheaply: fresh ids and times each time.

A generator must not be what a benchmark measures. So a request is an array of bytes in which the places of ids and
times are known: ids are XORed with a key of the request's own (which keeps parents and children together), times are
moved to now; two vectorised writes instead of an encoding.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator

import cramjam
import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from watchkeeper_server.receive.exposition.write_request import field
from watchkeeper_server.receive.prompb import TimeSeries

SPANS, RECORDS, METRICS, SERIES = 512, 1000, 50, 20
SPANS_A_TRACE = 8
SERVICES = ("shop", "payments", "worker", "search")
ROUTES = ("/api/items/{id}", "/api/items", "/api/cart", "/api/checkout", "/api/orders/{id}", "/login", "/search", "/")
WORDS = (  # drawn for log lines
    "order payment card accepted declined shipped customer cart checkout timeout retry connected cache miss hit queue "
    "worker started stopped slow query index table user login session token request response upstream"
).split()


class Renewable:
    """A request's bytes, with the places of what must differ each time; `items` is how many it holds."""

    def __init__(
        self, body: bytes, items: int, ids: Iterable[bytes], times: Iterable[int], numbers: Iterable[bytes] = ()
    ) -> None:
        """`ids`, `times` and `numbers` (decimal digits) are listed in the order in which they occur in the body."""
        self.items = items
        self._bytes = np.frombuffer(body, np.uint8).copy()
        places, within = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
        position = 0
        for marker in ids:
            position = body.index(marker, position)
            places.append(np.arange(position, position + len(marker)))
            within.append(np.arange(len(marker)))
            position += len(marker)
        self._ids, self._within = np.concatenate(places), np.concatenate(within)
        places, position = [np.empty(0, np.intp)], 0
        for digits in numbers:
            position = body.index(digits, position)
            places.append(np.arange(position, position + len(digits)))
            position += len(digits)
        self._digits = np.concatenate(places)
        self._original_ids = self._bytes[self._ids]
        self._times = np.array(list(times), np.int64)
        starts, position = [], 0
        for moment in self._times.tolist():
            position = body.index(moment.to_bytes(8, "little"), position)
            starts.append(position)
            position += 8
        self._time_places = np.add.outer(np.array(starts, np.intp), np.arange(8))
        self._made = time.time_ns()
        self._random = np.random.default_rng()

    def renew(self, age_seconds: float = 0.0, turn: int = 0) -> bytes:  # noqa: ARG002  every turn is alike
        """The request with ids and numbers of its own and times moved to now, or to so long before."""
        self._bytes[self._digits] = self._random.integers(ord("0"), ord("9") + 1, len(self._digits), np.uint8)
        key = self._random.integers(0, 256, 16, np.uint8)
        self._bytes[self._ids] = self._original_ids ^ key[self._within]
        moved = self._times + np.int64(time.time_ns() - self._made - round(age_seconds * 1e9))
        self._bytes[self._time_places] = moved.view(np.uint8).reshape(-1, 8)
        return self._bytes.tobytes()


def _attribute(key: str, value: str | int) -> KeyValue:
    attribute = KeyValue(key=key)
    if isinstance(value, int):
        attribute.value.int_value = value
    else:
        attribute.value.string_value = value
    return attribute


def _resource(service: str) -> list[KeyValue]:
    return [
        _attribute("service.name", service),
        _attribute("service.version", "1.4.2"),
        _attribute("service.instance.id", f"{service}-1"),
        _attribute("deployment.environment.name", "production"),
        _attribute("host.name", "web-1"),
        _attribute("telemetry.sdk.language", "python"),
    ]


def spans(service: str = "shop") -> Renewable:
    """512 spans of web requests, about 370 bytes each, eight to a trace, nine attributes, a tenth with an event."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(_resource(service))
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "opentelemetry.instrumentation.asgi", "0.66"
    ids: list[bytes] = []
    times: list[int] = []
    now = time.time_ns()
    root = trace_id = b""
    for i in range(SPANS):
        span = scope.spans.add()
        span_id = random.randbytes(8)
        if i % SPANS_A_TRACE == 0:
            trace_id, root = random.randbytes(16), span_id
        else:
            span.parent_span_id = root
        span.trace_id, span.span_id, span.kind = trace_id, span_id, 2 if span_id is root else 1
        route = random.choice(ROUTES)
        span.name = f"GET {route}"
        span.start_time_unix_nano = now + i * 1000
        span.end_time_unix_nano = now + i * 1000 + random.randint(1_000, 10_000_000)
        ids += [trace_id, span_id] + ([span.parent_span_id] if span.parent_span_id else [])
        times += [span.start_time_unix_nano, span.end_time_unix_nano]
        span.attributes.extend(
            [
                _attribute("http.request.method", "GET"),
                _attribute("url.scheme", "http"),
                _attribute("server.address", "shop.example"),
                _attribute("http.route", route),
                _attribute("network.protocol.version", "1.1"),
                _attribute("client.address", f"10.0.0.{random.randint(1, 250)}"),
                _attribute("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
                _attribute("http.response.status_code", 200),
                _attribute("server.port", 8000),
            ]
        )
        if i % 10 == 0:
            event = span.events.add()
            event.name, event.time_unix_nano = "exception", span.start_time_unix_nano
            times.append(event.time_unix_nano)
            event.attributes.append(_attribute("exception.type", "ValueError"))
            span.status.code = 2
    return Renewable(request.SerializeToString(), SPANS, ids, times)


def logs(service: str = "shop") -> Renewable:
    """1,000 log records of eight words, about 180 bytes each, with trace and span ids and two attributes."""
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.extend(_resource(service))
    scope = resource.scope_logs.add()
    scope.scope.name = "shop.orders"
    numbers: list[bytes] = []
    ids: list[bytes] = []
    times: list[int] = []
    now = time.time_ns()
    for i in range(RECORDS):
        record = scope.log_records.add()
        record.time_unix_nano = record.observed_time_unix_nano = now + i * 1000
        record.severity_number, record.severity_text = random.choice([(9, "INFO")] * 8 + [(13, "WARN"), (17, "ERROR")])
        record.body.string_value = f"{' '.join(random.choices(WORDS, k=8))} order_id={random.randint(100_000, 999_999)}"
        numbers.append(record.body.string_value[-6:].encode())
        record.trace_id, record.span_id = random.randbytes(16), random.randbytes(8)
        ids += [record.trace_id, record.span_id]
        times += [record.time_unix_nano, record.observed_time_unix_nano]
        record.attributes.extend([_attribute("code.function.name", "place_order"), _attribute("order_id", i)])
    return Renewable(request.SerializeToString(), RECORDS, ids, times, numbers)


def metrics(service: str = "shop") -> Renewable:
    """1,000 points: 50 metrics of 20 series with three attributes; half gauges, half counters."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.extend(_resource(service))
    scope = resource.scope_metrics.add()
    scope.scope.name = "shop.metrics"
    times: list[int] = []
    now = time.time_ns()
    for m in range(METRICS):
        metric = scope.metrics.add()
        metric.name, metric.description = f"shop.figure.{m}", "A figure of the shop."
        if m % 2:
            metric.sum.is_monotonic = True
            metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            points = metric.sum.data_points
        else:
            points = metric.gauge.data_points
        for s in range(SERIES):
            point = points.add()
            point.start_time_unix_nano = now - 60_000_000_000
            point.time_unix_nano = now + m * 100 + s
            point.as_double = float(random.randint(0, 1000))
            times.append(point.time_unix_nano)
            point.attributes.extend(
                [_attribute("method", "GET"), _attribute("route", ROUTES[s % 8]), _attribute("status", str(200 + s))]
            )
    return Renewable(request.SerializeToString(), METRICS * SERIES, [], times)


_STARTED_MS = time.time_ns() // 1_000_000


class Fleet:
    """Remote write 1.0 of a fleet's metrics: 10 machines of 1,000 series, in requests of 2,000 with a sample each.

    Turn after turn, each series comes again every fifth turn. A third of them never changes, a third are counters, the
    rest gauges, as with node_exporter.
    """

    items = 2_000
    requests = 5

    def __init__(self) -> None:
        """The same series each time."""
        series = list(_fleet())
        random.Random(1).shuffle(series)
        self._bodies, self._ends, self._bases, self._rates, self._decimals = [], [], [], [], []
        chance = np.random.default_rng(1)
        for start in range(0, len(series), self.items):
            entries = [_one_sample(labels) for labels in series[start : start + self.items]]
            framed = [field(1, entry) for entry in entries]
            self._bodies.append(np.frombuffer(b"".join(framed), np.uint8).copy())
            self._ends.append(np.cumsum([len(entry) for entry in framed]))
            kinds = chance.integers(0, 3, self.items)
            small, large = chance.integers(0, 3, self.items), chance.integers(0, 10**9, self.items)
            self._bases.append(np.where(kinds, large, small))
            self._rates.append(np.where(kinds == 1, 10.0 ** chance.uniform(-2, 4, self.items), 0.0))
            self._decimals.append(np.where(kinds == 2, 10.0 ** chance.integers(0, 5, self.items), 0.0))

    def renew(self, age_seconds: float = 0.0, turn: int = 0) -> bytes:
        """The request of this turn, dated as long before this process started, compressed."""
        which, round_ = turn % self.requests, turn // self.requests
        body, ends = self._bodies[which], self._ends[which]
        chance = np.random.default_rng(turn).random(self.items)
        values = np.floor(self._bases[which] + self._rates[which] * (round_ + chance) + self._decimals[which] * chance)
        body[ends[:, None] + np.arange(-15, -7)] = values.view(np.uint8).reshape(-1, 8)
        milliseconds = _STARTED_MS - round(age_seconds * 1000)
        body[ends[:, None] + np.arange(-6, 0)] = [milliseconds >> 7 * i & 0x7F | 0x80 * (i < 5) for i in range(6)]
        return bytes(cramjam.snappy.compress_raw(body.tobytes()))


def _fleet() -> Iterator[dict[str, str]]:
    for machine in range(10):
        shared = {
            "cluster": "eu-1", "datacenter": "fra", "environment": "production", "instance": f"node-{machine:02d}:9100",
            "job": "node", "rack": f"r{machine % 4}", "team": "platform",
        }  # fmt: skip
        for cpu in range(16):
            for mode in ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"):
                yield shared | {"__name__": "node_cpu_seconds_total", "cpu": str(cpu), "mode": mode}
        for device in range(10):
            for figure in range(60):
                yield shared | {"__name__": f"node_device_figure_{figure}_total", "device": f"dev{device}"}
        for figure in range(1_000 - 128 - 600):
            yield shared | {"__name__": f"node_memory_Figure{figure}_bytes", "collector": "meminfo"}


def _one_sample(labels: dict[str, str]) -> bytes:
    series = TimeSeries()
    for name, value in sorted(labels.items()):
        series.labels.add(name=name, value=value)
    series.samples.add(value=1.0, timestamp=time.time_ns() // 1_000_000)
    encoded: bytes = series.SerializeToString()
    return encoded


MAKERS = {"traces": spans, "logs": logs, "metrics": metrics, "samples": lambda _service: Fleet()}
