"""One request, one server span, whoever else would make one.

Providers are global, so each case is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import asyncio, json, os
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from support.sdk import request
import watchkeeper as wk
from watchkeeper import testing

app = FastAPI()
log = wk.get_logger("app")

@app.get("/x")
async def x():
    log.info("here")
    return {}

def official():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter.get_finished_spans

def contrib():
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])

def report(spans, seen, response):
    served = [s for s in spans() if s.kind is SpanKind.SERVER]
    traces = [s.get_span_context().trace_id for s in served]
    print(json.dumps({
        "names": [s.name for s in served],
        "lines": [r.trace_id in traces for r in seen.records],
        "request_id": "x-request-id" in response.headers,
        "counted": seen.metric("http_requests_total", method="GET", route="/x", status="200"),
    }))
"""

CASES = {
    "nobody else": """
        with testing.capture() as seen:
            wk.instrument(app)
            response = asyncio.run(request(app, "/x"))
            report(lambda: seen.spans, seen, response)
    """,
    "instrumented before configure": """
        wk.instrument(app)
        with testing.capture() as seen:
            response = asyncio.run(request(app, "/x"))
            report(lambda: seen.spans, seen, response)
    """,
    "contrib first": """
        with testing.capture() as seen:
            contrib()
            wk.instrument(app)
            response = asyncio.run(request(app, "/x"))
            report(lambda: seen.spans, seen, response)
    """,
    "contrib's middleware around": """
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        with testing.capture() as seen:
            wk.instrument(app)
            around = OpenTelemetryMiddleware(app, exclude_spans=["receive", "send"])
            response = asyncio.run(request(around, "/x"))
            report(lambda: seen.spans, seen, response)
    """,
    "starlette's middleware inside": """
        from starlette.middleware.opentelemetry import OpenTelemetryMiddleware
        with testing.capture() as seen:
            app.add_middleware(OpenTelemetryMiddleware)
            wk.instrument(app)
            response = asyncio.run(request(app, "/x"))
            report(lambda: seen.spans, seen, response)
    """,
    "an official provider, FastAPI's own spans": """
        spans = official()
        with testing.capture() as seen:
            wk.instrument(app)
            response = asyncio.run(request(app, "/x"))
            report(spans, seen, response)
            assert seen.spans == []
    """,
    "an official provider, FastAPI's own spans off": """
        spans = official()
        app._telemetry["tracing"] = False
        with testing.capture() as seen:
            wk.instrument(app)
            response = asyncio.run(request(app, "/x"))
            with wk.span("ours too"):
                pass
            assert [s.name for s in spans() if s.kind is SpanKind.INTERNAL] == ["ours too"]
            report(spans, seen, response)
            assert seen.spans == []
    """,
    "an official provider that comes after us": """
        with testing.capture() as seen:
            wk.instrument(app)
            spans = official()
            response = asyncio.run(request(app, "/x"))
            with wk.span("ours too"):
                pass
            assert [s.name for s in spans() if s.kind is SpanKind.INTERNAL] == ["ours too"]
            report(spans, seen, response)
            assert seen.spans == []
    """,
    "an official provider and contrib": """
        spans = official()
        contrib()
        with testing.capture() as seen:
            wk.instrument(app)
            response = asyncio.run(request(app, "/x"))
            report(spans, seen, response)
    """,
    "FastAPI told to use our provider": """
        with testing.capture() as seen:
            app = FastAPI(telemetry={"tracer_provider": trace.get_tracer_provider()})
            app.get("/x")(x)
            wk.instrument(app)
            response = asyncio.run(request(app, "/x"))
            report(lambda: seen.spans, seen, response)
    """,
}


@pytest.mark.parametrize("case", CASES)
def test_a_request_is_one_server_span_with(case: str) -> None:
    program = PRELUDE + textwrap.dedent(CASES[case])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report == {
        "names": ["GET /x"],
        "lines": [True],
        "request_id": True,
        "counted": 1.0,
    }
