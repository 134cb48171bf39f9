"""Watchkeeper's SDK: one import instruments an application.

    import watchkeeper as wk

    wk.configure()
    wk.instrument(app)
    log = wk.get_logger(__name__)

Everything leaves as OTLP, Prometheus exposition or log lines. The application is never harmed: no exception, no
blocking call and no unbounded memory comes from here.
"""

from watchkeeper.client import configure, flush, instrument, shutdown, uninstrument
from watchkeeper.logging.logger import Logger, get_logger
from watchkeeper.metrics.declare import Counter, Gauge, Histogram, Summary, counter, gauge, histogram, summary
from watchkeeper.metrics.listed import load_metrics
from watchkeeper.options import (
    ConfigurationError,
    LogOptions,
    MetricOptions,
    Options,
    QueueOptions,
    ServiceOptions,
    SignalOptions,
    TraceOptions,
)
from watchkeeper.tracing.api import span, traced

__all__ = [
    "ConfigurationError",
    "Counter",
    "Gauge",
    "Histogram",
    "LogOptions",
    "Logger",
    "MetricOptions",
    "Options",
    "QueueOptions",
    "ServiceOptions",
    "SignalOptions",
    "Summary",
    "TraceOptions",
    "configure",
    "counter",
    "flush",
    "gauge",
    "get_logger",
    "histogram",
    "instrument",
    "load_metrics",
    "shutdown",
    "span",
    "summary",
    "traced",
    "uninstrument",
]
