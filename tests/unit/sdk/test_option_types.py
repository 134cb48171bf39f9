"""Every option, given values of types that it does not take: one message, which names it."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import watchkeeper as wk
from support.sdk import Sink
from watchkeeper import ConfigurationError, Options
from watchkeeper.export.options import SignalOptions
from watchkeeper.metrics.part import metrics
from watchkeeper.options import usable

ODD = ("0.5", "x", b"x", 1, 1.5, True, None, [1], ["x"], (None,), {"x": 1}, {1: "x"}, {"x": None}, object(), print, int)


def every_option(kind: Any = Options, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        yield (*path, field.name)
        if dataclasses.is_dataclass(hints[field.name]):
            yield from every_option(hints[field.name], (*path, field.name))


OPTIONS = tuple(every_option())


def with_option(options: Any, path: tuple[str, ...], value: Any) -> Any:
    name, *below = path
    inner = with_option(getattr(options, name), tuple(below), value) if below else value
    return dataclasses.replace(options, **{name: inner})


def test_the_options_are_found() -> None:
    assert ("logs", "file", "max_bytes") in OPTIONS
    assert len(OPTIONS) > 80


def refusals(options: Iterable[Options]) -> list[str]:
    """What is said of those that are refused. Anything but ConfigurationError is a bug."""
    told = []
    for each in options:
        try:
            usable(each)
        except ConfigurationError as error:
            told.append(str(error))
    return told


@pytest.mark.parametrize("path", OPTIONS, ids=".".join)
def test_an_option_of_a_wrong_type_is_named(path: tuple[str, ...]) -> None:
    told = refusals(with_option(Options(), path, odd) for odd in ODD)
    assert len(told) > 5
    assert [message for message in told if ".".join(path) not in message or len(message) > 400] == []


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(SignalOptions)])
def test_an_option_of_a_signal_of_a_wrong_type_is_named(name: str) -> None:
    target = SignalOptions("http://a:1/x")
    told = refusals(Options(export={"traces": dataclasses.replace(target, **{name: odd})}) for odd in ODD)
    assert len(told) > 5
    assert [message for message in told if "traces" not in message or name not in message] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("shop", "configure takes Options, and was given 'shop', a str; to name the service write configure(service="),
        ({"service": "shop"}, "configure takes Options, and was given a dict"),
        (wk.LogOptions(), "configure takes Options, and was given a LogOptions"),
        (Options(service="x"), "service is 'x', a str: it must be ServiceOptions(…)"),  # type: ignore[arg-type]
        (Options(logs=wk.LogOptions), "logs is a type: it must be LogOptions(…)"),  # type: ignore[arg-type]
        (Options(logs=wk.LogOptions(file="x.log")), "logs.file is 'x.log', a str: it must be FileOptions(…)"),  # type: ignore[arg-type]
        (Options(logs=wk.LogOptions(level="loud")), "logs.level is 'loud': use one of trace, "),
        (Options(logs=wk.LogOptions(level=None)), "logs.level is None: it must be a whole number or text"),  # type: ignore[arg-type]
        (
            Options(export={"traces": "http://h:1"}),  # type: ignore[dict-item]
            "export['traces'] is 'http://h:1', a str: it must be SignalOptions(…)",
        ),
        (
            Options(traces=wk.TraceOptions(ratio="0.5")),  # type: ignore[arg-type]
            "traces.ratio is '0.5', a str: it must be a number",
        ),
        (
            Options(traces=wk.TraceOptions(excluded_urls="/internal")),  # type: ignore[arg-type]
            "traces.excluded_urls is '/internal', a str: it must be a tuple of text, such as ('/internal',)",
        ),
        (
            Options(errors=wk.ErrorOptions(in_app="shop")),  # type: ignore[arg-type]
            "errors.in_app is 'shop', a str: it must be a tuple of text, such as ('shop',)",
        ),
        (
            Options(errors=wk.ErrorOptions(before_send="x")),  # type: ignore[arg-type]
            "errors.before_send is 'x', a str: it must be a function or None",
        ),
        (
            Options(logs=wk.LogOptions(redaction=wk.RedactionOptions(keys="secret"))),  # type: ignore[arg-type]
            "logs.redaction.keys is 'secret', a str: it must be a tuple of text, such as ('secret',)",
        ),
        (
            Options(queue=wk.QueueOptions(capacity=True)),
            "queue.capacity is True: it must be a whole number",
        ),
        (
            Options(metrics=wk.MetricOptions(interval_seconds=Fraction(3, 2))),  # type: ignore[arg-type]
            "metrics.interval_seconds is a Fraction: it must be a number",
        ),
        (
            Options(traces=wk.TraceOptions(excluded_urls=("a{99999999999}",))),
            "traces.excluded_urls: 'a{99999999999}' is not a regular expression",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        wk.configure(options)


def test_an_async_before_send_is_refused() -> None:
    async def before_send(event: Any) -> Any:
        return event

    with pytest.raises(ConfigurationError, match=r"errors\.before_send is an async function"):
        wk.configure(Options(errors=wk.ErrorOptions(before_send=before_send)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        Options(export={"logs": SignalOptions("http://a:1/x", headers={"key": b"hush"})}),  # type: ignore[dict-item]
        Options(export={"logs": SignalOptions("http://a:1/x", headers="key=hush")}),  # type: ignore[arg-type]
        Options(export={"logs": "http://me:hush@a:1"}),  # type: ignore[dict-item]
        Options(logs=wk.LogOptions(loki=wk.LokiOptions(password=["hush"]))),  # type: ignore[arg-type]
    ],
)
def test_what_may_be_a_secret_is_not_repeated(options: Options) -> None:
    with pytest.raises(ConfigurationError, match="it must be") as refused:
        wk.configure(options)
    assert "hush" not in str(refused.value)


def test_what_means_the_same_is_taken() -> None:
    class Whole:  # as numpy's are
        def __index__(self) -> int:
            return 7

    whole: Any = Whole()
    options = Options(
        service=wk.ServiceOptions(attributes={"replicas": 3, "spot": True}),
        logs=wk.LogOptions(level="Debug", file=wk.FileOptions(Path("/tmp/x.log"))),  # type: ignore[arg-type]
        traces=wk.TraceOptions(ratio=1, excluded_prefixes=["/health", "/ping"]),  # type: ignore[arg-type]
        databases=wk.DatabaseOptions(n_plus_one=whole),
        integrations={"redis"},  # type: ignore[arg-type]
    )
    taken = usable(options)
    assert taken.traces.excluded_prefixes == ("/health", "/ping")
    assert taken.logs.file.path == "/tmp/x.log"
    assert taken.integrations == ("redis",)
    assert taken.databases.n_plus_one == 7
    assert taken.service.attributes == {"replicas": 3, "spot": True}


def test_a_level_by_its_name_is_the_threshold(sink: Sink, capsys: pytest.CaptureFixture[str]) -> None:
    wk.configure(sink.options(logs=wk.LogOptions(level="warning", format="json")))
    wk.get_logger("x").info("too low")
    wk.get_logger("x").warning("high enough")
    wk.flush()
    out = capsys.readouterr().out
    assert "too low" not in out
    assert "high enough" in out


@pytest.mark.usefixtures("production")
def test_a_part_that_cannot_be_wired_keeps_no_other_from_it(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_wiring: Any) -> None:
        raise OSError("nobody's fault")

    monkeypatch.setattr(metrics, "wire", fails)
    wk.configure(sink.options(logs=wk.LogOptions(stream="off")))
    with wk.span("still sent"):
        pass
    wk.flush()
    assert [span.name for span in sink.spans()] == ["still sent"]


def test_refused_options_leave_the_running_client_as_it_is(sink: Sink) -> None:
    wk.configure(sink.options())
    threads = set(threading.enumerate())
    for bad in ("shop", Options(logs=wk.LogOptions(level=[])), Options(metrics=wk.MetricOptions(path="metrics"))):  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            wk.configure(bad)  # type: ignore[arg-type]
    assert set(threading.enumerate()) == threads
    with wk.span("still sent"):
        pass
    wk.flush()
    assert [span.name for span in sink.spans()] == ["still sent"]
