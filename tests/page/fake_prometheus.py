"""Stands in for Prometheus' HTTP API where a test is about the page alone: it does not evaluate PromQL.

Of a query it looks at which metric is named, and at which of a few forms it has; the series of that metric are then
answered in that form, each a function of time alone.
"""

from __future__ import annotations

import json
import math
import random
import re
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_shop import Shop

    from watchkeeper_server.model.answers import Metric

Query = dict[str, list[str]]
LabelSet = dict[str, str]

BOUNDS = ("0.05", "0.1", "0.25", "0.5", "1", "+Inf")
MANY = 260


def metric(name: str, kind: str, help_text: str, series: int, unit: str = "") -> Metric:
    return {"name": name, "type": kind, "unit": unit, "help": help_text, "series": series}


METRICS: dict[str, Metric] = {
    one["name"]: one
    for one in (
        metric("http_requests_total", "counter", "Requests answered", 6),
        metric("http_request_duration_seconds_bucket", "histogram", "Time to answer a request", 18, "seconds"),
        metric("http_request_duration_seconds_count", "histogram", "Time to answer a request", 3, "seconds"),
        metric("http_request_duration_seconds_sum", "histogram", "Time to answer a request", 3, "seconds"),
        metric("checkout_duration_seconds", "histogram", "Time to check out", 3, "seconds"),
        metric("process_resident_memory_bytes", "gauge", "Resident memory", 3, "bytes"),
        metric("queue_depth", "gauge", "Messages waiting", 2),
        metric("cache_hit_ratio", "gauge", "Hits of all look-ups", 1, "ratio"),
        metric("many_series", "gauge", "More than can be drawn", MANY),
        metric("http.server.requests", "counter", "A name of OpenTelemetry's", 1),
    )
}


def label_sets(name: str) -> list[LabelSet]:
    """The labels of a metric's series, without its name."""
    if name == "http_requests_total":
        routes = [("GET", "/products", "200"), ("POST", "/orders", "201"), ("POST", "/orders", "502")]
        routes += [("GET", "/search", "200"), ("POST", "/charges", "200"), ("POST", "/charges", "402")]
        return [
            {"job": "payments" if path == "/charges" else "shop", "method": method, "route": path, "status": status}
            for method, path, status in routes
        ]
    jobs = [{"job": job, "instance": f"{job}-1"} for job in ("shop", "payments", "worker")]
    if name.endswith("_bucket"):
        return [job | {"le": bound} for job in jobs for bound in BOUNDS]
    if name == "many_series":
        return [{"job": "shop", "n": str(n)} for n in range(MANY)]
    if name == "queue_depth":
        return [{"job": "worker", "queue": queue} for queue in ("emails", "invoices")]
    return jobs[: METRICS[name]["series"]]


class RefusedQueryError(Exception):
    """A request that is answered as Prometheus refuses one."""

    def __init__(self, message: str, kind: str = "bad_data") -> None:
        super().__init__(message)
        self.body = {"status": "error", "errorType": kind, "error": message}


class FakePrometheus:
    """Answers the routes below `/api/v1` that the page asks: the envelope without its status."""

    def __init__(self, shop: Shop) -> None:
        """Exemplars name a trace of the shop; an empty shop scrapes nothing and has no metrics."""
        self._trace_id = next(iter(shop.traces), "")
        self.targets = make_targets() if shop.traces else []

    def answer(self, path: str, query: Query) -> dict[str, Any]:
        """What the page asks for."""
        text = query.get("query", [""])[0]
        if path in {"/query", "/query_range", "/parse_query", "/format_query"}:
            check(text)
        answers: dict[str, Callable[[], dict[str, Any]]] = {
            "/query_range": lambda: self._range(text, query),
            "/query": lambda: envelope(text, {"resultType": "vector", "result": instant(text, query)}),
            "/query_exemplars": lambda: {"data": self._exemplars(text, float(query["end"][0]))},
            "/parse_query": lambda: {"data": tree(text)},
            "/format_query": lambda: {"data": re.sub(r"\s*([+*/(])\s*", lambda found: f" {found[1]} ", text)},
            "/label/__name__/values": lambda: {"data": sorted(METRICS)},
            "/metadata": lambda: {
                "data": {name: [{"type": one["type"], "help": one["help"]}] for name, one in METRICS.items()}
            },
            "/scrape_pools": lambda: {"data": {"scrapePools": sorted({one["scrapePool"] for one in self.targets})}},
            "/targets": lambda: {"data": self._targets(query["state"][0])},
        }
        return answers.get(path, lambda: {"data": []})()

    def _range(self, text: str, query: Query) -> dict[str, Any]:
        if text.endswith("]"):
            raise RefusedQueryError('invalid expression type "range vector" for range query', "execution")
        start, end, step = (float(query[name][0]) for name in ("start", "end", "step"))
        times = [start + i * step for i in range(int((end - start) / step) + 1)]
        limit = int(query["limit"][0])
        result: list[dict[str, Any]] = []
        for labels, value in series_of(text):
            if "checkout" in text and "histogram_quantile" not in text:
                result.append({"metric": labels, "histograms": [[at, native(value(at))] for at in times]})
            else:
                result.append({"metric": labels, "values": [[at, str(value(at))] for at in times]})
        return envelope(text, {"resultType": "matrix", "result": result[:limit]})

    def _exemplars(self, text: str, end: float) -> list[dict[str, Any]]:
        exemplars = [
            {"labels": {"trace_id": self._trace_id}, "value": "0.4", "timestamp": end - seconds}
            for seconds in (120.5, 300.25)
        ]
        return [{"seriesLabels": {"__name__": name_in(text), "job": "shop"}, "exemplars": exemplars}]

    def _targets(self, state: str) -> dict[str, Any]:
        if state == "active":
            return {"activeTargets": self.targets, "droppedTargets": [], "droppedTargetCounts": None}
        dropped = [{"discoveredLabels": {"__address__": "10.0.0.7:9100", "job": "node"}, "scrapePool": "node"}]
        return {"activeTargets": [], "droppedTargets": dropped, "droppedTargetCounts": {"node": 12, "shop": 0}}


def check(text: str) -> None:
    """Refuse what is nonsense, or unfinished."""
    if found := re.search(r"\bnonsense\b", text):
        line, column = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
        message = f'{line}:{column}: parse error: unexpected identifier "nonsense"'
        raise RefusedQueryError(f'invalid parameter "query": {message}')


def name_in(text: str) -> str:
    """The metric a query names; empty for none."""
    return max((name for name in METRICS if name in text), key=len, default="")


def series_of(text: str) -> list[tuple[LabelSet, Any]]:
    """Labels, and values as a function of time, of a query's series."""
    name = name_in(text)
    if not name:
        return []
    sets = [
        labels
        for labels in label_sets(name)
        if all(labels.get(label) == value for label, value in re.findall(r'(\w+)="([^"]*)"', text))
    ]
    if found := re.search(r"(sum|count) by \((\w+)\)", text):
        label = found[2]
        values = dict.fromkeys(labels[label] for labels in sets if label in labels)
        if "histogram_quantile" in text:
            return [({}, wave(name, {}))]
        if found[1] == "count":
            return [
                ({label: value}, lambda _, value=value: sum(labels.get(label) == value for labels in sets))
                for value in values
            ]
        if label == "le":  # buckets count all that is below them too
            return [({"le": bound}, lambda _, i=i: [1, 4, 9, 12, 13, 13][i]) for i, bound in enumerate(BOUNDS)]
        return [({label: value}, wave(name, {label: value})) for value in values]
    named = {} if "(" in text else {"__name__": name}
    return [(named | labels, wave(name, labels)) for labels in sets]


def wave(name: str, labels: LabelSet) -> Any:
    """Some line that swings about a value of the metric's size."""
    seed = random.Random(name + json.dumps(labels, sort_keys=True))
    phase, period = seed.uniform(0, 6), seed.uniform(200, 600)
    size = {"bytes": 9e7, "seconds": 0.3, "ratio": 0.8}.get(METRICS[name]["unit"], 12) * seed.uniform(0.4, 1)
    return lambda at: round(size * (1 + 0.2 * math.sin(at / period + phase)), 6)


def native(count: float) -> dict[str, Any]:
    buckets = [[0, "0.1", "0.2", str(count / 2)], [0, "0.2", "0.4", str(count / 2)]]
    return {"count": str(count), "sum": str(count / 4), "buckets": buckets}


def instant(text: str, query: Query) -> list[dict[str, Any]]:
    at = float(query["time"][0])
    return [{"metric": labels, "value": [at, str(value(at))]} for labels, value in series_of(text)]


def envelope(text: str, data: dict[str, Any]) -> dict[str, Any]:
    """With remarks for queries that deserve some."""
    answer: dict[str, Any] = {"data": data | {"stats": {"timings": {"execTotalTime": 0.012}}}}
    if "rate(queue_depth" in text:
        answer["infos"] = ['PromQL info: metric might not be a counter: "queue_depth" (1:6)']
    if "quantile(2" in text:
        answer["warnings"] = ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)"]
    return answer


def tree(text: str) -> dict[str, Any]:
    """Only what the unit of a result depends on."""
    selector = {"type": "vectorSelector", "name": name_in(text)}
    functions = [name for name in ("histogram_quantile", "rate") if name in text]
    return {"type": "call", "func": {"name": functions[0]}, "args": [selector]} if functions else selector


def make_targets() -> list[dict[str, Any]]:
    """Two pools: of one all are up, of the other one is down and one was never scraped."""

    def target(pool: str, address: str, health: str, error: str = "") -> dict[str, Any]:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {
            "discoveredLabels": {"__address__": address, "__scheme__": "http", "job": pool},
            "labels": {"instance": address, "job": pool},
            "scrapePool": pool,
            "scrapeUrl": f"http://{address}/metrics",
            "globalUrl": f"http://{address}/metrics",
            "lastError": error,
            "lastScrape": "0001-01-01T00:00:00Z" if health == "unknown" else at,
            "lastScrapeDuration": 0.0125,
            "health": health,
            "scrapeInterval": "15s",
            "scrapeTimeout": "10s",
        }

    refused = 'Get "http://10.0.0.3:8000/metrics": connection refused'
    return [
        target("node", "10.0.0.1:9100", "up"),
        target("shop", "10.0.0.2:8000", "up"),
        target("shop", "10.0.0.3:8000", "down", refused),
        target("shop", "10.0.0.4:8000", "unknown"),
    ]
