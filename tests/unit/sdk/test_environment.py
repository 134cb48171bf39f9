"""What OpenTelemetry allows in its variables stops no start, and what does nothing is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import watchkeeper as wk
from support.sdk import Sink
from watchkeeper import Options
from watchkeeper.export.boundary import boundary
from watchkeeper.export.options import SignalOptions
from watchkeeper.options import LogOptions, said_of
from watchkeeper.tracing.otel_propagate import only_installed

QUIET = LogOptions(stream="off")


@pytest.mark.parametrize(
    ("value", "endpoint", "protocol", "console"),
    [
        ("otlp,console", "http://localhost:4318/v1/traces", "http/protobuf", "stdout"),
        (" Console , OTLP", "http://localhost:4318/v1/traces", "http/protobuf", "stdout"),
        ("zipkin,console", "http://localhost:9411/api/v2/spans", "zipkin", "stdout"),
        ("otlp,zipkin", "http://localhost:4318/v1/traces", "http/protobuf", "off"),
        ("console", "stdout", "console", "off"),
        ("none", "", "http/protobuf", "off"),
    ],
)
def test_traces_may_have_several_exporters(value: str, endpoint: str, protocol: str, console: str) -> None:
    options = Options.from_environment({"OTEL_TRACES_EXPORTER": value})
    assert (options.export["traces"].endpoint, options.export["traces"].protocol) == (endpoint, protocol)
    assert options.traces.console == console
    assert len(options.notices) == (value == "otlp,zipkin")


@pytest.mark.parametrize(
    ("signal", "value", "pushed", "said"),
    [
        ("metrics", "prometheus", False, ""),
        ("metrics", "otlp,prometheus", True, ""),
        ("metrics", "console", False, "OTEL_METRICS_EXPORTER names console: metrics are not printed"),
        ("logs", "console", False, ""),
        ("logs", "otlp,console", True, ""),
        ("logs", "none", False, ""),
    ],
)
def test_what_a_signal_does_besides_otlp_is_taken(signal: str, value: str, pushed: bool, said: str) -> None:
    options = Options.from_environment({f"OTEL_{signal.upper()}_EXPORTER": value})
    assert bool(options.export[signal].endpoint) is pushed
    assert [notice.startswith(said) for notice in options.notices] == [True] * bool(said)


def test_traces_are_sent_and_drawn(sink: Sink, capsys: pytest.CaptureFixture[str]) -> None:
    wk.configure(sink.options(traces=wk.TraceOptions(console="stdout"), logs=QUIET))
    with wk.span("charge card", password="hunter2"):
        pass
    wk.shutdown()
    drawn = capsys.readouterr().out
    assert "charge card" in drawn
    assert "hunter2" not in drawn
    assert [span.name for span in sink.spans()] == ["charge card"]


def test_a_json_exporter_sends_protobuf() -> None:
    options = Options.from_environment(
        {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"}
    )
    assert options.export["logs"] == SignalOptions("http://a:1/v1/logs")
    assert [notice.partition(",")[0] for notice in options.notices] == ["OTEL_EXPORTER_OTLP_LOGS_PROTOCOL is http/json"]


@pytest.mark.parametrize(
    ("value", "taken"),
    [("b3,xray", ("b3",)), ("xray", ("tracecontext", "baggage")), ("B3, ottrace ,jaeger", ("b3", "jaeger"))],
)
def test_a_propagator_that_is_not_installed_is_left_out(value: str, taken: tuple[str, ...]) -> None:
    options = Options.from_environment({"OTEL_PROPAGATORS": value})
    assert options.propagators == taken
    assert [notice.partition(",")[0] for notice in options.notices] != []
    assert options.notices[0].startswith("OTEL_PROPAGATORS names '")


def test_the_variable_is_whole_again_after_it_was_read_without_what_is_not_installed() -> None:
    environ = {"OTEL_PROPAGATORS": "b3, xray"}
    with only_installed(environ):
        assert environ["OTEL_PROPAGATORS"] == "b3"
    assert environ["OTEL_PROPAGATORS"] == "b3, xray"


def test_variables_that_do_nothing_are_said_with_what_was_meant() -> None:
    notices = Options.from_environment(
        {
            "WATCHKEEPER_LOGLEVEL": "debug",
            "WATCHKEEPER_LOG_LEVEL": "debug",
            "WATCHKEEPER_TEA": "green",
            "WATCHKEEPER_RUN_PID": "7",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "64",
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "",
        }
    ).notices
    assert notices == (
        "Watchkeeper has no variable WATCHKEEPER_LOGLEVEL (did you mean WATCHKEEPER_LOG_LEVEL?), WATCHKEEPER_TEA",
        "Watchkeeper does not heed OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: what spans and lines may hold is fixed",
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WATCHKEEPER_LOG_FILE_MAX_BYTES", "10MB", "is '10MB': it must be a whole number of bytes, such as 10000000"),
        ("WATCHKEEPER_SLOW_QUERY", "1.5s", "is '1.5s': it must be a number of milliseconds, such as 1500"),
        ("WATCHKEEPER_LOG_FILE_KEEP_DAYS", "many", "is 'many': it must be a number$"),
    ],
)
def test_a_number_with_a_unit_is_told_which_one_is_meant(name: str, value: str, message: str) -> None:
    with pytest.raises(wk.ConfigurationError, match=f"{name} {message}"):
        Options.from_environment({name: value})


def test_what_can_work_and_may_not_be_meant_is_said(tmp_path: Path) -> None:
    logs = wk.LogOptions(file=wk.FileOptions(str(tmp_path / "new" / "shop.log")))
    export = {"logs": SignalOptions("http://h:4318"), "traces": SignalOptions("http://h:4318/v1/traces")}
    assert list(said_of(Options(logs=logs, export=export))) == [
        "export['logs'].endpoint is http://h:4318, and nothing is added to it: most servers have http://h:4318/v1/logs",
        f"logs.file.path is in {tmp_path / 'new'}, a folder that is not there: it is made",
    ]
    assert list(said_of(Options(logs=wk.LogOptions(file=wk.FileOptions(str(tmp_path / "shop.log")))))) == []
    assert list(said_of(Options(export={"logs": SignalOptions("http://h:4317", protocol="grpc")}))) == []


def test_an_ordinary_environment_says_nothing() -> None:
    assert Options.from_environment({"OTEL_SERVICE_NAME": "shop", "WATCHKEEPER_LOG_LOKI": "http://l"}).notices == ()


def test_what_is_to_be_said_is_said_once(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(boundary, "_said", set())
    for environment in ("one", "two"):
        wk.configure(sink.options(logs=QUIET, service=wk.ServiceOptions(environment=environment), notices=("ahem",)))
    assert [record.getMessage() for record in caplog.records if record.name == "watchkeeper"] == ["ahem"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "OTEL_PROPAGATORS",
            "b3,xray",
            "OTEL_PROPAGATORS names 'xray', which is not installed",
        ),
        ("OTEL_PYTHON_TRACER_PROVIDER", "nobodys", "OTEL_PYTHON_TRACER_PROVIDER names a provider that cannot be had"),
        ("PROMETHEUS_MULTIPROC_DIR", "/proc/no/such", "PROMETHEUS_MULTIPROC_DIR is '/proc/no/such'"),
        ("OTEL_TRACES_EXPORTER", "none", ""),
    ],
)
def test_no_variable_keeps_a_program_from_starting(name: str, value: str, said: str) -> None:
    program = (
        "import watchkeeper as wk; wk.configure()\n"
        "with wk.span('a') as span: assert span.is_recording()\n"
        "wk.counter('orders_total', 'Orders').inc(); print('works')"
    )
    environ = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    environ |= {"PATH": os.environ["PATH"], name: value}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "works" in run.stdout
    assert said in run.stdout + run.stderr
