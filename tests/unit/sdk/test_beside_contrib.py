"""OpenTelemetry's own instrumentation of WSGI, Flask and Django at work beside ours: one server span, whoever makes it.

Providers are global, so each is a process of its own, in which one framework after the other is served.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import asyncio, json, sys
from opentelemetry import trace
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.trace import SpanKind
from support.wsgi import call
import flask
import httpx
import watchkeeper as wk
from watchkeeper import testing
from watchkeeper.launch.frameworks import frameworks

log = wk.get_logger("shop")
results = {}

def official():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter.get_finished_spans

def counted(seen):
    return sum(
        sample.value
        for family in __import__("prometheus_client").REGISTRY.collect() if family.name == "http_requests"
        for sample in family.samples if sample.name == "http_requests_total"
    )

def served(case, app, asgi=False):
    spans_before, lines_before, count = len(spans()), len(seen.records), counted(seen)
    if asgi:
        response = asyncio.run(asked(app))
    else:
        response = call(app, "/orders/7")
    made = [s for s in spans()[spans_before:] if s.kind is SpanKind.SERVER]
    traces = [s.get_span_context().trace_id for s in made]
    results[case] = {
        "spans": len(made),
        "lines": [r.trace_id in traces for r in seen.records[lines_before:] if r.message == "shown"],
        "request_id": "x-request-id" in {name.lower() for name in response.headers},
        "counted": counted(seen) - count,
    }

async def asked(app):
    # httpx's client is one that stays: Django stops as soon as it hears that its client has left.
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.example") as client:
        return await client.get("/orders/7")

def bare():
    def app(environ, start_response):
        log.info("shown")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]
    return app

def shop():
    app = flask.Flask("shop")
    @app.get("/orders/<int:order_id>")
    def order(order_id):
        log.info("shown")
        return {}
    return app

def of_wsgi():
    served("wsgi: theirs around ours", OpenTelemetryMiddleware(wk.instrument(bare())))
    served("wsgi: ours around theirs", wk.instrument(OpenTelemetryMiddleware(bare())))

def of_flask():
    served("flask: ours alone", wk.instrument(shop()))
    app = shop()
    FlaskInstrumentor().instrument_app(app)
    served("flask: theirs first", wk.instrument(app))
    app = wk.instrument(shop())
    FlaskInstrumentor().instrument_app(app)
    served("flask: ours first", app)
    FlaskInstrumentor.uninstrument_app(app)
    served("flask: theirs taken off again", app)
    FlaskInstrumentor().instrument()
    served("flask: theirs of every application", wk.instrument(shop()))
    frameworks.watch()
    served("flask: both of every application", shop())
    FlaskInstrumentor().uninstrument()
    served("flask: ours of every application", shop())
    frameworks.unwatch()

def order(_request, order_id):
    from django.http import HttpResponse
    log.info("shown")
    return HttpResponse("ok")

def of_django():
    import django
    from django.conf import settings
    from django.urls import path
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x", LOGGING_CONFIG=None, MIDDLEWARE=[])
    sys.modules[__name__].urlpatterns = [path("orders/<int:order_id>", order)]
    django.setup()
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    served("django: ours alone", wk.instrument(get_wsgi_application()))
    app = wk.instrument(get_wsgi_application())
    DjangoInstrumentor().instrument()
    served("django: theirs after ours", app)
    served("django: theirs first", wk.instrument(get_wsgi_application()))
    served("django, asgi: theirs first", wk.instrument(get_asgi_application()), asgi=True)
    frameworks.watch()
    served("django: both of every application", get_wsgi_application())
    DjangoInstrumentor().uninstrument()
    served("django: ours of every application", get_wsgi_application())
    served("django, asgi: ours of every application", get_asgi_application(), asgi=True)
    frameworks.unwatch()

provider = sys.argv[1]
spans = official() if provider == "official, before" else None
with testing.capture() as seen:
    if provider == "official, after":
        spans = official()
        seen_spans = seen.spans
    if spans is None:
        spans = lambda: seen.spans
    of_wsgi()
    of_flask()
    of_django()
    if provider != "ours":
        assert seen.spans == [], seen.spans
print(json.dumps(results))
"""
CASES = (
    "wsgi: theirs around ours",
    "wsgi: ours around theirs",
    "flask: ours alone",
    "flask: theirs first",
    "flask: ours first",
    "flask: theirs taken off again",
    "flask: theirs of every application",
    "flask: both of every application",
    "flask: ours of every application",
    "django: ours alone",
    "django: theirs after ours",
    "django: theirs first",
    "django, asgi: theirs first",
    "django: both of every application",
    "django: ours of every application",
    "django, asgi: ours of every application",
)


@functools.cache
def results_with(provider: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, provider],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("provider", ["ours", "official, before", "official, after"])
def test_a_request_is_one_server_span_and_one_count(provider: str, case: str) -> None:
    assert results_with(provider)[case] == {"spans": 1, "lines": [True], "request_id": True, "counted": 1}


def test_every_case_is_asked_for() -> None:
    assert set(results_with("ours")) == set(CASES)
