"""structlog as applications configure it: their processors run, and each event is a line with fields, once."""

from __future__ import annotations

import io
import json
import logging
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import watchkeeper as wk
from support.programs import ended
from watchkeeper.testing import Captured, capture


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def shout(_logger: Any, _method: str, event_dict: Any) -> Any:
    """A processor of the application's."""
    return {**event_dict, "shouted": True}


FIRST = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
    shout,
]


def printing() -> None:
    structlog.configure(processors=[*FIRST, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])


def printing_bytes() -> None:
    structlog.configure_once(
        processors=(*FIRST, structlog.processors.JSONRenderer(serializer=lambda *a, **k: json.dumps(*a, **k).encode())),
        logger_factory=structlog.BytesLoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def renderer_of_their_own() -> None:
    structlog.configure(processors=[*FIRST, lambda _logger, _method, event: json.dumps(event)])


def standard_library(*last: Any) -> Callable[[], None]:
    def configure() -> None:
        structlog.configure(
            processors=[structlog.stdlib.filter_by_level, structlog.stdlib.add_logger_name, *FIRST, *last],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )
        logging.getLogger().setLevel(logging.INFO)

    return configure


def formatter() -> None:
    standard_library(structlog.stdlib.ProcessorFormatter.wrap_for_formatter)()
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer()))
    logging.getLogger().addHandler(handler)


def ours() -> None:
    structlog.configure(processors=[*FIRST, wk.structlog_processor])


CONFIGURATIONS: dict[str, Callable[[], None]] = {
    "PrintLogger": printing,
    "BytesLogger": printing_bytes,
    "a function": renderer_of_their_own,
    "console": lambda: structlog.configure(processors=[*FIRST, structlog.dev.ConsoleRenderer()]),
    "stdlib": standard_library(structlog.processors.JSONRenderer()),
    "stdlib keywords": standard_library(structlog.stdlib.render_to_log_kwargs),
    "stdlib arguments": standard_library(structlog.stdlib.render_to_log_args_and_kwargs),
    "ProcessorFormatter": formatter,
    "our processor": ours,
}


@pytest.mark.parametrize("first", ["theirs", "ours"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_an_event_is_a_line_with_fields_however_structlog_is_configured(
    name: str, first: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if first == "theirs":
        CONFIGURATIONS[name]()
    before = list(structlog.get_config()["processors"])
    with capture() as seen, structlog.contextvars.bound_contextvars(tenant="acme"):
        if first == "ours":
            CONFIGURATIONS[name]()
        log = structlog.get_logger("shop.orders").bind(order_id=7)
        log.warning("placed", password="hunter2")
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("broke")
        placed, broke = seen.records
        assert (placed.level, placed.message, placed.logger) == (30, "placed", "shop.orders")
        assert placed.fields == {"tenant": "acme", "order_id": 7, "shouted": True, "password": "[redacted]"}
        assert (broke.level, broke.message, broke.failure and broke.failure.type) == (40, "broke", "ValueError")
        assert "exception" not in broke.fields
    assert capfd.readouterr() == ("", "")
    if first == "theirs":
        assert list(structlog.get_config()["processors"]) == before


def test_an_unconfigured_logger_keeps_its_name(seen: Captured) -> None:
    structlog.get_logger("shop.orders").info("one")
    structlog.get_logger().info("two")
    structlog.get_logger("shop.orders").info("three", logger="chosen")
    assert [record.logger for record in seen.records] == ["shop.orders", "structlog", "chosen"]


def test_files_that_structlog_writes_are_the_applications(tmp_path: Path, seen: Captured) -> None:
    direct = io.StringIO()
    structlog.configure(
        processors=[*FIRST, structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory(direct)
    )
    structlog.get_logger("shop").info("direct")
    assert json.loads(direct.getvalue())["event"] == "direct"
    structlog.reset_defaults()
    standard_library(structlog.processors.KeyValueRenderer(["event"]))()
    logging.getLogger().addHandler(logging.FileHandler(tmp_path / "shop.log"))
    structlog.get_logger("shop").info("by logging")
    assert (tmp_path / "shop.log").read_text().startswith("event='by logging'")
    assert seen.messages() == ["direct", "by logging"]


def test_loggers_that_were_bound_before_are_heard() -> None:
    structlog.configure(processors=[*FIRST, structlog.processors.JSONRenderer()], cache_logger_on_first_use=True)
    log = structlog.get_logger("shop")
    bound = log.bind(order_id=7)
    with capture() as seen:
        bound.info("bound before")
        log.info("cached before")
    assert seen.messages() == ["bound before", "cached before"]


def test_a_test_of_the_applications_still_captures_its_events(seen: Captured) -> None:
    printing()
    with structlog.testing.capture_logs() as events:
        structlog.get_logger().info("theirs")
    assert [event["event"] for event in events] == ["theirs"]
    structlog.get_logger().info("ours again")
    assert seen.messages() == ["ours again"]


def test_an_event_that_was_renamed_is_the_message(seen: Captured) -> None:
    structlog.configure(processors=[structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer()])
    structlog.get_logger().info("said", order_id=7)
    (record,) = seen.records
    assert (record.message, record.fields) == ("said", {"order_id": 7})


def test_structlog_that_is_imported_and_configured_after_us_speaks_through_the_pipeline(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        textwrap.dedent("""
        import watchkeeper as wk
        wk.configure()
        import structlog
        structlog.get_logger("first").info("unconfigured")
        structlog.configure(processors=[structlog.processors.JSONRenderer()])
        structlog.get_logger("second").info("configured", order_id=7)
        """)
    )
    nowhere = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "LOGS", "METRICS")}
    done = ended([sys.executable, "program.py"], tmp_path, **nowhere)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["logger"], line["message"]) for line in lines] == [
        ("first", "unconfigured"),
        ("second", "configured"),
    ]
    assert lines[1]["order_id"] == 7
