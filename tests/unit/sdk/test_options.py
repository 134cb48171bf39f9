from __future__ import annotations

from typing import Any

import pytest

import watchkeeper as wk
from support.sdk import Sink, eventually
from watchkeeper import ConfigurationError, Options
from watchkeeper.options import LogOptions, ServiceOptions, TraceOptions


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Options.from_environment({}) == Options()


def test_nothing_is_pushed_unless_an_endpoint_is_set_or_an_exporter_named() -> None:
    assert not any(target.endpoint for target in Options().export.values())
    export = Options.from_environment({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://b:2/x"}).export
    assert {signal: target.endpoint for signal, target in export.items()} == {
        "traces": "",
        "logs": "http://b:2/x",
        "metrics": "",
    }


def test_the_endpoint_of_an_exporter_that_is_named_is_opentelemetrys_default() -> None:
    export = Options.from_environment({"OTEL_TRACES_EXPORTER": "otlp"}).export
    assert export["traces"].endpoint == "http://localhost:4318/v1/traces"
    assert export["metrics"].endpoint == ""


def test_the_common_endpoint_gets_a_path_per_signal_and_a_signals_own_is_taken_as_it_is() -> None:
    export = Options.from_environment(
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1/base/", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://b:2/x"}
    ).export
    assert export["traces"].endpoint == "http://a:1/base/v1/traces"
    assert export["metrics"].endpoint == "http://a:1/base/v1/metrics"
    assert export["logs"].endpoint == "http://b:2/x"


def test_headers_timeout_and_compression_are_common_or_per_signal() -> None:
    export = Options.from_environment(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b,x=1",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x=2",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "3000",
            "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "500",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
    ).export
    assert export["traces"].headers == {"api-key": "a b", "x": "2"}
    assert export["logs"].headers == {"api-key": "a b", "x": "1"}
    assert (export["traces"].timeout_seconds, export["logs"].timeout_seconds) == (3.0, 0.5)
    assert {target.compression for target in export.values()} == {"gzip"}


def test_an_exporter_named_none_switches_its_signal_off() -> None:
    export = Options.from_environment(
        {"OTEL_LOGS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"}
    ).export
    assert export["logs"].endpoint == ""
    assert export["traces"].endpoint


def test_the_service_is_read_from_name_and_resource_attributes() -> None:
    service = Options.from_environment(
        {
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,service.version=1.2,deployment.environment.name=prod,t=a",
        }
    ).service
    assert (service.name, service.version, service.environment) == ("shop", "1.2", "prod")
    assert service.attributes["t"] == "a"


def test_samplers_queue_and_exclusions_are_read() -> None:
    options = Options.from_environment(
        {
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.25",
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": "/internal,ping$",
        }
    )
    assert options.traces == TraceOptions(
        sampler="parentbased_traceidratio", ratio=0.25, excluded_urls=("/internal", "ping$")
    )
    assert (options.queue.capacity, options.queue.batch, options.queue.delay_seconds) == (100, 10, 0.2)


def test_a_queue_smaller_than_a_batch_is_a_batch(sink: Sink) -> None:
    queue = Options.from_environment({"OTEL_BSP_MAX_QUEUE_SIZE": "2", "OTEL_BSP_SCHEDULE_DELAY": "3600000"}).queue
    wk.configure(sink.options(queue=queue))
    for name in ("one", "two"):
        with wk.span(name):
            pass
    eventually(lambda: len(sink.spans()) == 2)


def test_disabled_and_own_variables_are_read() -> None:
    options = Options.from_environment(
        {
            "OTEL_SDK_DISABLED": "true",
            "WATCHKEEPER_LOG_LEVEL": "debug",
            "WATCHKEEPER_LOG_STREAM": "off",
            "WATCHKEEPER_METRIC_EXPORT_INTERVAL": "2000",
            "WATCHKEEPER_METRICS_PATH": "off",
        }
    )
    assert not options.enabled
    assert (options.logs.level, options.logs.stream) == (10, "off")
    assert (options.metrics.interval_seconds, options.metrics.path) == (2.0, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no-equals-sign"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=value"),
        ("OTEL_SDK_DISABLED", "perhaps"),
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("WATCHKEEPER_LOG_LEVEL", "loud"),
        ("WATCHKEEPER_LOG_FORMAT", "xml"),
        ("WATCHKEEPER_INTEGRATIONS", "cobol"),
    ],
)
def test_a_bad_variable_raises_from_configure_and_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        wk.configure()


def test_a_bad_sampling_ratio_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1.5")
    with pytest.raises(ConfigurationError, match="OTEL_TRACES_SAMPLER_ARG"):
        wk.configure()


def test_a_bad_pattern_names_the_option() -> None:
    with pytest.raises(ConfigurationError, match="excluded_urls"):
        wk.configure(Options(traces=TraceOptions(excluded_urls=("(",))))


def test_a_bad_option_in_code_raises_from_configure_only() -> None:
    options = Options(logs=LogOptions(format="xml"), service=ServiceOptions(name="shop"))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"logs\.format"):
        wk.configure(options)


def test_keys_of_a_server_are_not_in_the_options_own_text() -> None:
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=hunter2"}
    assert Options.from_environment(environ).export["traces"].headers == {"api-key": "hunter2"}
    assert "hunter2" not in repr(Options.from_environment(environ))
