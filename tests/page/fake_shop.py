"""A shop's telemetry of the last hour, made up but the same at every run: what the fake server answers from."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from watchkeeper_server.model.answers import LogRecord, Resource, Scope, Span, SpanEvent, SpanLink

NS = 1_000_000_000
LARGE_TRACE_ID = "5000" * 8
LARGE_TRACE_SPANS = 5_000

SEVERITY_NUMBERS = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "error": 17, "fatal": 21}

STACK = """Traceback (most recent call last):
  File "/srv/shop/.venv/lib/python3.12/site-packages/starlette/routing.py", line 76, in app
    response = await f(request)
               ^^^^^^^^^^^^^^^^
  File "/srv/shop/shop/orders.py", line 48, in place_order
    receipt = await payments.charge(order.total, card)
              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/shop/payments.py", line 31, in charge
    raise CardDeclined(answer["reason"])
shop.payments.CardDeclined: insufficient funds
"""


def rfc3339(ns: int) -> str:
    """Nanoseconds since the epoch as the API writes them."""
    seconds, nanos = divmod(ns, NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


@dataclass
class Shop:
    """Every span and log record, by trace id and newest first."""

    traces: dict[str, list[Span]] = field(default_factory=dict)
    logs: list[LogRecord] = field(default_factory=list)


def resource(service: str) -> Resource:
    return {
        "attributes": {
            "service.name": service,
            "service.version": "2.4.1",
            "service.instance.id": f"{service}-1",
            "deployment.environment.name": "demo",
            "host.name": "shop-host",
            "process.pid": 4211,
            "telemetry.sdk.language": "python",
        },
        "schema_url": "https://opentelemetry.io/schemas/1.43.0",
        "dropped_attributes_count": 0,
    }


def scope(name: str) -> Scope:
    return {"name": name, "version": "0.1.0", "attributes": {}, "schema_url": "", "dropped_attributes_count": 0}


@dataclass
class Tracer:
    """Writes one trace: spans at offsets from its start, and log records within them."""

    shop: Shop
    random: random.Random
    trace_id: str
    start_ns: int

    def span(
        self,
        service: str,
        name: str,
        kind: str,
        parent: Span | None,
        offset_ns: int,
        duration_ns: int,
        attributes: dict[str, Any] | None = None,
    ) -> Span:
        span: Span = {
            "trace_id": self.trace_id,
            "span_id": f"{self.random.getrandbits(64):016x}",
            "parent_span_id": parent["span_id"] if parent else None,
            "name": name,
            "kind": kind,
            "service": service,
            "start": rfc3339(self.start_ns + offset_ns),
            "end": rfc3339(self.start_ns + offset_ns + duration_ns),
            "offset_ns": offset_ns,
            "duration_ns": duration_ns,
            "status": {"code": "unset", "message": ""},
            "attributes": attributes or {},
            "events": [],
            "links": [],
            "scope": scope(f"{service}.instrumentation"),
            "resource": service,
            "trace_state": "",
            "flags": 1,
            "dropped_attributes_count": 0,
            "dropped_events_count": 0,
            "dropped_links_count": 0,
        }
        self.shop.traces.setdefault(self.trace_id, []).append(span)
        return span

    def event(self, span: Span, after_ns: int, name: str, attributes: dict[str, Any]) -> None:
        offset = span["offset_ns"] + after_ns
        event: SpanEvent = {
            "time": rfc3339(self.start_ns + offset),
            "offset_ns": offset,
            "name": name,
            "attributes": attributes,
            "dropped_attributes_count": 0,
        }
        span["events"].append(event)

    def link(self, span: Span, trace_id: str, span_id: str) -> None:
        link: SpanLink = {
            "trace_id": trace_id,
            "span_id": span_id,
            "trace_state": "",
            "flags": 1,
            "attributes": {"messaging.operation.type": "process"},
            "dropped_attributes_count": 0,
        }
        span["links"].append(link)

    def fail(self, span: Span, message: str) -> None:
        span["status"] = {"code": "error", "message": message}

    def log(self, span: Span, after_ns: int, severity: str, body: str, **attributes: Any) -> None:
        at = self.start_ns + span["offset_ns"] + after_ns
        self.shop.logs.append(log_record(at, span["service"], severity, body, attributes, span=span))


def log_record(
    at_ns: int, service: str, severity: str, body: str, attributes: dict[str, Any], *, span: Span | None = None
) -> LogRecord:
    return {
        "time": rfc3339(at_ns),
        "observed_time": rfc3339(at_ns + 210_000),
        "severity": severity,
        "severity_number": SEVERITY_NUMBERS[severity],
        "severity_text": severity.upper(),
        "service": service,
        "body": body,
        "event_name": "",
        "trace_id": span["trace_id"] if span else None,
        "span_id": span["span_id"] if span else None,
        "flags": 1 if span else 0,
        "attributes": attributes,
        "dropped_attributes_count": 0,
        "scope": scope(f"{service}.log"),
        "resource": resource(service),
    }


def make_shop(now_ns: int, requests: int = 420) -> Shop:
    """An hour of traffic that ends at `now_ns`, with an outage of the payments five sixths into it."""
    shop = Shop()
    dice = random.Random(7)
    for i in range(requests):
        age = (i + dice.random()) / requests * 3600 * NS
        tracer = Tracer(shop, dice, f"{dice.getrandbits(128):032x}", now_ns - int(age) - 2 * NS)
        outage = 500 * NS < age < 680 * NS
        choice = dice.random()
        if choice < 0.45:
            list_products(tracer)
        elif choice < 0.85:
            place_order(tracer, outage=outage)
        else:
            search(tracer)
    for minute in range(60):
        at = now_ns - minute * 60 * NS - 9 * NS
        shop.logs.append(log_record(at, "worker", "debug", "queue is empty", {"queue": "emails", "waited_ms": 1000}))
    large_trace(Tracer(shop, dice, LARGE_TRACE_ID, now_ns - 1800 * NS))
    shop.logs.sort(key=lambda record: record["time"], reverse=True)
    return shop


def _ms(tracer: Tracer, middle: float) -> int:
    """A duration around `middle` milliseconds, with the long tail that real ones have."""
    return int(tracer.random.lognormvariate(math.log(middle), 0.45) * 1e6)


def list_products(tracer: Tracer) -> None:
    query = _ms(tracer, 4)
    root = tracer.span(
        "shop",
        "GET /products",
        "server",
        None,
        0,
        query + 3_000_000,
        {"http.request.method": "GET", "http.route": "/products", "http.response.status_code": 200},
    )
    cached = tracer.random.random() < 0.6
    tracer.span("cache", "GET", "server", root, 400_000, 350_000, {"cache.hit": cached, "db.system.name": "redis"})
    if not cached:
        statement = "SELECT id, name, price FROM products ORDER BY name LIMIT 50"
        tracer.span(
            "shop",
            "SELECT products",
            "client",
            root,
            1_000_000,
            query,
            {"db.system.name": "sqlite", "db.query.text": statement, "db.response.returned_rows": 50},
        )
    tracer.log(root, 900_000, "debug", "listed products", count=50, cached=cached)


def search(tracer: Tracer) -> None:
    total = _ms(tracer, 60)
    words = tracer.random.choice(["lamp", "brass lantern", "sea chart", "rope"])
    root = tracer.span(
        "shop",
        "GET /search",
        "server",
        None,
        0,
        total,
        {"http.request.method": "GET", "http.route": "/search", "search.words": words},
    )
    call = tracer.span("shop", "GET", "client", root, 1_000_000, total - 2_000_000, {"url.full": "http://search/query"})
    inner = tracer.span("search", "GET /query", "server", call, 1_800_000, total - 4_000_000, {"search.words": words})
    for shard in range(4):
        length = int((total - 8_000_000) * (0.5 + 0.5 * tracer.random.random()))
        tracer.span("search", f"shard {shard}", "internal", inner, 3_000_000, max(1000, length), {"shard": shard})
    if total > 100_000_000:
        tracer.log(inner, total - 5_000_000, "warn", f"slow search for {words!r}", words=words, took_ms=total / 1e6)
    tracer.log(root, total - 1_000_000, "info", f"searched for {words!r}", words=words)


def place_order(tracer: Tracer, *, outage: bool) -> None:
    dice = tracer.random
    order = dice.randrange(10_000, 99_999)
    charge = _ms(tracer, 900 if outage else 85)
    save = _ms(tracer, 9)
    declined = dice.random() < (0.6 if outage else 0.04)
    total = charge + save + 14_000_000
    root = tracer.span(
        "shop",
        "POST /orders",
        "server",
        None,
        0,
        total,
        {
            "http.request.method": "POST",
            "http.route": "/orders",
            "http.response.status_code": 502 if declined else 201,
            "order.id": order,
            "order.total": round(dice.uniform(5, 250), 2),
            "order.gift": False,
            "order.items": ["brass lantern", "sea chart"],
            "order.customer": {"id": 81, "tier": "gold", "address": {"city": "Bergen"}},
            "order.coupon": "",
            "order.signature": {"$bytes": "3q2+7w=="},
            "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        },
    )
    tracer.event(root, 700_000, "order validated", {"items": 2})
    check = tracer.span("shop", "validate order", "internal", root, 600_000, 2_100_000, {"rules": 12})
    for i in range(3):
        tracer.span("cache", "GET", "server", check, 700_000 + i * 600_000, 400_000, {"cache.hit": i != 1})
    client = tracer.span(
        "shop",
        "POST",
        "client",
        root,
        3_000_000,
        charge + 2_000_000,
        {"url.full": "http://payments:8001/charges", "server.port": 8001, "http.request.method": "POST"},
    )
    paid = tracer.span("payments", "POST /charges", "server", client, 4_000_000, charge, {"http.route": "/charges"})
    tracer.span("payments", "fraud check", "internal", paid, 4_500_000, charge // 4, {"fraud.score": 0.07})
    bank = tracer.span(
        "payments",
        "POST bank.example",
        "client",
        paid,
        4_500_000 + charge // 4,
        charge // 2,
        {"server.address": "bank.example", "retries": 0},
    )
    tracer.log(root, 500_000, "info", f"order {order} received", order_id=order, items=2)
    tracer.log(paid, 300_000, "info", f"charging card for order {order}", order_id=order)
    if declined:
        _decline(tracer, [root, client, paid, bank], order)
        return
    after = 5_500_000 + charge
    statement = "INSERT INTO orders (id, total, customer) VALUES (?, ?, ?)"
    tracer.span(
        "shop",
        "INSERT orders",
        "client",
        root,
        after,
        save,
        {"db.system.name": "sqlite", "db.query.text": statement},
    )
    sent = tracer.span("shop", "send emails", "producer", root, after + save, 900_000, {"messaging.system": "queue"})
    tracer.log(root, after, "info", f"order {order} placed", order_id=order, took_ms=round(total / 1e6, 1))
    # The e-mail leaves after the answer did: work that outlives its parent.
    mail = tracer.span(
        "worker", "process emails", "consumer", sent, total + 2_000_000, _ms(tracer, 40), {"queue": "emails"}
    )
    tracer.link(mail, root["trace_id"], sent["span_id"])
    tracer.span("worker", "render template", "internal", mail, mail["offset_ns"] + 500_000, 3_000_000, {})
    tracer.log(mail, 4_000_000, "info", f"sent receipt of order {order}", order_id=order, to="a…@example.com")


def _decline(tracer: Tracer, failing: list[Span], order: int) -> None:
    root, client, paid, bank = failing
    for span in (bank, paid, client, root):
        tracer.fail(span, "insufficient funds" if span is paid else "")
    tracer.event(
        paid,
        paid["duration_ns"] - 400_000,
        "exception",
        {
            "exception.type": "shop.payments.CardDeclined",
            "exception.message": "insufficient funds",
            "exception.stacktrace": STACK,
            "exception.escaped": False,
        },
    )
    tracer.log(bank, bank["duration_ns"], "warn", "bank answered 402, not retrying", attempt=1)
    tracer.log(
        paid,
        paid["duration_ns"] - 300_000,
        "error",
        f"card declined for order {order}: insufficient funds",
        order_id=order,
        **{"exception.type": "shop.payments.CardDeclined", "exception.stacktrace": STACK},
    )


def large_trace(tracer: Tracer) -> None:
    """A nightly job with thousands of spans in a tree four deep."""
    root = tracer.span("worker", "rebuild catalogue", "internal", None, 0, 60 * NS, {"job": "catalogue"})
    made, at = 1, 0
    while made < LARGE_TRACE_SPANS:
        batch = tracer.span("worker", f"batch {at // NS}", "internal", root, at, NS - 1_000_000, {})
        made += 1
        for item in range(9):
            if made + 10 > LARGE_TRACE_SPANS:
                break
            start = at + item * 100_000_000
            one = tracer.span("worker", f"product {made}", "internal", batch, start, 95_000_000, {"item": item})
            for step in range(9):
                name = ["SELECT products", "GET", "render"][step % 3]
                service = ["worker", "cache", "worker"][step % 3]
                tracer.span(service, name, "client", one, start + step * 10_000_000, 9_000_000, {"step": step})
            made += 10
        at += NS if at < 58 * NS else 0
    tracer.fail(root, "3 products could not be read")
