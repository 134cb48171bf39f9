"""The ways to instrument that `sdk.py` compares, each as its own documentation sets it up.

Each is a generator: it prepares, gives what the endpoint logs with, is sent the application, gives the one to call,
sends what waits when it goes on, and again when it goes on to its end.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdk_apps import DJANGO, Say, configure_django, silent

Steps = Generator[Any, Any, None]  # gives what to say with; takes the application, gives the instrumented one; ends
_SENTRY_DSN = "http://key@127.0.0.1:9/1"


@dataclass(frozen=True)
class Stack:
    """What one of them promises a request."""

    title: str
    steps: Callable[[str, Path], Steps]  # (framework, log file)
    spans: int = 0  # at the sink
    lines: int = 0  # in the log file
    records: int = 0  # log records at the sink
    spans_of_fastapi: int | None = None  # where ASGI has more
    stdout: bool = False  # its lines go to stdout
    at_least: bool = False  # it sends more spans than these: of its own steps, and of what has only begun

    def spans_in(self, framework: str) -> int:
        """Spans per request."""
        return self.spans if self.spans_of_fastapi is None or framework != "fastapi" else self.spans_of_fastapi


def bare(_framework: str, _log: Path) -> Steps:
    """Nothing."""
    app = yield silent
    yield app
    yield


def watchkeeper(_framework: str, _log: Path) -> Steps:
    """Ours, as the guide says: metrics, span, log line, error capture."""
    import watchkeeper as wk  # noqa: PLC0415  # each process imports only what it measures

    wk.configure()
    log = wk.get_logger("shop.orders")

    def say(order_id: int) -> None:
        log.info("order shown", order_id=order_id, customer="ada")

    app = yield say
    yield wk.instrument(app)
    for _ in range(2):
        if not wk.flush(20):
            raise SystemExit("watchkeeper could not flush")
        yield


def usual(framework: str, log: Path) -> Steps:
    """OpenTelemetry's packages, the framework's Prometheus exporter, structlog and sentry-sdk with their defaults."""
    import sentry_sdk  # noqa: PLC0415

    sentry_sdk.init(dsn=_SENTRY_DSN)
    yield from _assembled(framework, log, _contrib_fastapi)


def tuned(framework: str, log: Path) -> Steps:
    """The same, with what each can leave out left out."""
    import sentry_sdk  # noqa: PLC0415
    from sentry_sdk.integrations.django import DjangoIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.fastapi import FastApiIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.flask import FlaskIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.starlette import StarletteIntegration  # noqa: PLC0415

    wanted: dict[str, Callable[[], list[Any]]] = {
        "fastapi": lambda: [StarletteIntegration(), FastApiIntegration()],
        "flask": lambda: [FlaskIntegration()],
        "django": lambda: [DjangoIntegration(middleware_spans=False, signals_spans=False, cache_spans=False)],
    }
    sentry_sdk.init(
        dsn=_SENTRY_DSN,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=wanted[framework](),
        auto_session_tracking=False,
        max_breadcrumbs=0,
    )
    yield from _assembled(framework, log, _native_fastapi)


def distro(framework: str, _log: Path) -> Steps:
    """`opentelemetry-instrument`, which does what is done here before the program starts: spans, metrics, logs."""
    from opentelemetry.instrumentation.auto_instrumentation import initialize  # noqa: PLC0415

    if framework == "django":
        configure_django()
    initialize()
    logging.getLogger().setLevel(logging.INFO)
    log = logging.getLogger("shop.orders")

    def say(order_id: int) -> None:
        log.info("order shown", extra={"order_id": order_id, "customer": "ada"})

    app = yield say
    yield app
    from opentelemetry import _logs, metrics, trace  # noqa: PLC0415

    for _ in range(2):
        for provider in (trace.get_tracer_provider(), _logs.get_logger_provider(), metrics.get_meter_provider()):
            provider.force_flush()  # type: ignore[union-attr]
        yield


def logfire(framework: str, _log: Path) -> Steps:
    """Logfire, sending to an OTLP endpoint of one's own; its log line is a span."""
    import logfire as fire  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    processor = BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=65_536)
    fire.configure(send_to_logfire=False, console=False, additional_span_processors=[processor], metrics=False)
    if framework == "django":
        configure_django()
        fire.instrument_django()

    def say(order_id: int) -> None:
        fire.info("order shown", order_id=order_id, customer="ada")

    app = yield say
    if framework == "fastapi":
        fire.instrument_fastapi(app)
    elif framework == "flask":
        fire.instrument_flask(app)
    yield app
    for _ in range(2):
        fire.force_flush()
        yield


def ddtrace(framework: str, log: Path) -> Steps:
    """Datadog's tracer with the trace's ids in a JSON line, sending to an agent."""
    import ddtrace as dd  # noqa: PLC0415

    dd.patch(raise_errors=True, **{framework: True, "logging": True})
    say, close = _json_line(log, ("dd.trace_id", "dd.span_id"))
    app = yield say
    yield app
    dd.tracer.flush()  # type: ignore[attr-defined]
    yield
    dd.tracer.flush()  # type: ignore[attr-defined]
    dd.tracer.shutdown()  # type: ignore[attr-defined]
    close()


def elastic(framework: str, log: Path) -> Steps:
    """Elastic's agent with ecs-logging's line, sending to an APM server."""
    import os  # noqa: PLC0415

    settings = {
        "SERVICE_NAME": "shop",
        "SERVER_URL": os.environ["SINK"],
        "CENTRAL_CONFIG": False,
        "CLOUD_PROVIDER": "none",
        "METRICS_INTERVAL": "30s",
        "TRANSACTION_MAX_SPANS": 10,
    }
    if framework == "django":
        DJANGO["INSTALLED_APPS"].append("elasticapm.contrib.django")
        DJANGO["MIDDLEWARE"].insert(0, "elasticapm.contrib.django.middleware.TracingMiddleware")
        DJANGO["ELASTIC_APM"] = settings
    import ecs_logging  # noqa: PLC0415

    say, close = _stdlib_line(log, ecs_logging.StdlibFormatter())
    app = yield say
    import elasticapm  # noqa: PLC0415

    if framework == "fastapi":
        from elasticapm.contrib.starlette import ElasticAPM, make_apm_client  # noqa: PLC0415

        app.add_middleware(ElasticAPM, client=make_apm_client(settings))
    elif framework == "flask":
        from elasticapm.contrib.flask import ElasticAPM as FlaskAgent  # noqa: PLC0415

        app.config["ELASTIC_APM"] = settings
        FlaskAgent(app)
    yield app
    client = elasticapm.get_client()
    assert client is not None
    client._transport.flush()  # noqa: SLF001  # what its own exit does
    yield
    client._transport.flush()  # noqa: SLF001
    client.close()
    close()


# Parts of them


def _assembled(framework: str, log: Path, trace_fastapi: Callable[[Any], None]) -> Steps:
    """Spans, metrics and a line, each by a package of its own."""
    flush = _official_provider()
    if framework == "django":
        _count_django()
        _contrib_django()
    say, close = _structlog_line(log)
    app = yield say
    if framework == "fastapi":
        _count_fastapi(app)
        trace_fastapi(app)
    elif framework == "flask":
        _count_flask(app)
        _contrib_flask(app)
    yield app
    flush()
    yield
    flush()
    close()


def _official_provider() -> Callable[[], object]:
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=65_536))
    trace.set_tracer_provider(provider)
    return provider.force_flush


def _contrib_fastapi(app: Any) -> None:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415

    FastAPIInstrumentor.instrument_app(app)


def _native_fastapi(app: Any) -> None:
    app._telemetry["operation_spans"] = False  # noqa: SLF001  # FastAPI's own span alone, the cheapest there is


def _contrib_flask(app: Any) -> None:
    from opentelemetry.instrumentation.flask import FlaskInstrumentor  # noqa: PLC0415

    FlaskInstrumentor().instrument_app(app)


def _contrib_django() -> None:
    from opentelemetry.instrumentation.django import DjangoInstrumentor  # noqa: PLC0415

    configure_django()
    DjangoInstrumentor().instrument()


def _count_fastapi(app: Any) -> None:
    from prometheus_fastapi_instrumentator import Instrumentator  # noqa: PLC0415

    Instrumentator().instrument(app).expose(app)


def _count_flask(app: Any) -> None:
    from prometheus_flask_exporter import PrometheusMetrics  # noqa: PLC0415

    PrometheusMetrics(app, group_by="url_rule")


def _count_django() -> None:
    DJANGO["INSTALLED_APPS"].append("django_prometheus")
    DJANGO["MIDDLEWARE"].insert(0, "django_prometheus.middleware.PrometheusBeforeMiddleware")
    DJANGO["MIDDLEWARE"].append("django_prometheus.middleware.PrometheusAfterMiddleware")
    DJANGO["PROMETHEUS_EXPORT_MIGRATIONS"] = False


def _structlog_line(path: Path) -> tuple[Say, Callable[[], None]]:
    """structlog as its documentation sets it up for JSON, with the trace's ids, written line by line as loggers do."""
    import structlog  # noqa: PLC0415
    from opentelemetry import trace  # noqa: PLC0415

    def add_ids(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            event["trace_id"], event["span_id"] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        return event

    file = path.open("w")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            add_ids,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file),
        cache_logger_on_first_use=True,
    )
    log = structlog.get_logger("shop.orders")

    def say(order_id: int) -> None:
        log.info("order shown", order_id=order_id, customer="ada")

    return say, file.close


def _json_line(path: Path, ids: tuple[str, ...]) -> tuple[Say, Callable[[], None]]:
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415

    names = " ".join(f"%({name})s" for name in ("asctime", "levelname", "name", "message", *ids))
    return _stdlib_line(path, JsonFormatter(names, defaults=dict.fromkeys(ids, "")))


def _stdlib_line(path: Path, formatter: logging.Formatter) -> tuple[Say, Callable[[], None]]:
    handler = logging.FileHandler(path, "w")
    handler.setFormatter(formatter)
    log = logging.getLogger("shop.orders")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False

    def say(order_id: int) -> None:
        log.info("order shown", extra={"order_id": order_id, "customer": "ada"})

    return say, handler.close


STACKS = {
    "bare": Stack("bare", bare),
    "watchkeeper": Stack("Watchkeeper: metrics, span, log line, errors", watchkeeper, spans=1, lines=1, stdout=True),
    "watchkeeper-records": Stack(
        "Watchkeeper, the line as OTLP log record too", watchkeeper, spans=1, lines=1, records=1, stdout=True
    ),
    "usual": Stack(
        "OpenTelemetry contrib, Prometheus exporter, structlog, sentry-sdk", usual, 1, 1, spans_of_fastapi=3
    ),
    "tuned": Stack("the same, tuned", tuned, 1, 1),
    "distro": Stack("opentelemetry-distro: spans, metrics, log records", distro, 1, 0, 1, spans_of_fastapi=3),
    "logfire": Stack("logfire: span, and the line as a span", logfire, 2, at_least=True),
    "ddtrace": Stack("ddtrace: spans, JSON line", ddtrace, 1, 1),
    "elastic": Stack("elastic-apm: transaction, ECS line", elastic, 1, 1),
}

if __name__ == "__main__":
    sys.exit("run sdk.py")
