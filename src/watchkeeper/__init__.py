"""Watchkeeper's SDK: one import instruments an application.

    import watchkeeper as wk

    wk.configure()
    wk.instrument(app)
    log = wk.get_logger(__name__)

Everything leaves as OTLP, Prometheus exposition or log lines. The application is never harmed: no exception, no
blocking call and no unbounded memory comes from here.
"""

from watchkeeper.caches.options import CacheOptions
from watchkeeper.client import configure, flush, instrument, shutdown, uninstrument
from watchkeeper.context import bind_context, bound_context
from watchkeeper.databases.options import DatabaseOptions
from watchkeeper.environment import ConfigurationError
from watchkeeper.errors.breadcrumbs import add_breadcrumb
from watchkeeper.errors.capture import capture_exception, capture_message
from watchkeeper.errors.event import ErrorEvent
from watchkeeper.errors.options import ErrorOptions, ErrorRule
from watchkeeper.errors.stats import ErrorStats, error_stats
from watchkeeper.export.options import QueueOptions, SignalOptions
from watchkeeper.health.api import drain, health, health_check
from watchkeeper.health.checks.broker import check_broker
from watchkeeper.health.checks.cache import check_cache
from watchkeeper.health.checks.database import check_database
from watchkeeper.health.checks.http import check_http
from watchkeeper.health.checks.process import check_disk, check_memory
from watchkeeper.health.options import HealthOptions
from watchkeeper.health.results import HealthReport, HealthResult
from watchkeeper.integrations.processing import processing
from watchkeeper.integrations.structlog_logging import structlog_processor
from watchkeeper.language_models.options import ModelOptions
from watchkeeper.logging.logger import Logger, get_logger
from watchkeeper.logging.options import FileOptions, LogOptions, RedactionOptions
from watchkeeper.logging.server_options import ElasticsearchOptions, LokiOptions
from watchkeeper.logging.timing import mark, measure, timed
from watchkeeper.metrics.declare import Counter, Gauge, Histogram, Summary, counter, gauge, histogram, summary
from watchkeeper.metrics.listed import load_metrics
from watchkeeper.options import (
    MetricOptions,
    Options,
    ServiceOptions,
    TraceOptions,
)
from watchkeeper.queues.part import watch_queue
from watchkeeper.tracing.api import span, traced
from watchkeeper.tracing.recent import TraceSummary, recent_traces, trace_summary

__all__ = [
    "CacheOptions",
    "ConfigurationError",
    "Counter",
    "DatabaseOptions",
    "ElasticsearchOptions",
    "ErrorEvent",
    "ErrorOptions",
    "ErrorRule",
    "ErrorStats",
    "FileOptions",
    "Gauge",
    "HealthOptions",
    "HealthReport",
    "HealthResult",
    "Histogram",
    "LogOptions",
    "Logger",
    "LokiOptions",
    "MetricOptions",
    "ModelOptions",
    "Options",
    "QueueOptions",
    "RedactionOptions",
    "ServiceOptions",
    "SignalOptions",
    "Summary",
    "TraceOptions",
    "TraceSummary",
    "add_breadcrumb",
    "bind_context",
    "bound_context",
    "capture_exception",
    "capture_message",
    "check_broker",
    "check_cache",
    "check_database",
    "check_disk",
    "check_http",
    "check_memory",
    "configure",
    "counter",
    "drain",
    "error_stats",
    "flush",
    "gauge",
    "get_logger",
    "health",
    "health_check",
    "histogram",
    "instrument",
    "load_metrics",
    "mark",
    "measure",
    "processing",
    "recent_traces",
    "shutdown",
    "span",
    "structlog_processor",
    "summary",
    "timed",
    "trace_summary",
    "traced",
    "uninstrument",
    "watch_queue",
]
