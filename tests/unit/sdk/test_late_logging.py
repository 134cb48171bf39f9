"""Applications configure logging when and how they like: before the SDK, after it, by hand or by a file."""

from __future__ import annotations

import json
import logging
import logging.config
import logging.handlers
import queue
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from rich.console import Console
from rich.logging import RichHandler

import watchkeeper as wk
from support.programs import ended
from watchkeeper.export.boundary import boundary
from watchkeeper.testing import Captured, capture

NAMES = ("shop", "shop.orders")


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    existing = [logger for logger in logging.Logger.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    disabled = {logger: logger.disabled for logger in existing}
    yield root
    theirs = [handler for logger in (root, *map(logging.getLogger, NAMES)) for handler in logger.handlers]
    for handler in theirs:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger in map(logging.getLogger, NAMES):
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    for logger, was in disabled.items():
        logger.disabled = was


class Loud(logging.StreamHandler[Any]):
    """One that prints."""

    made: list[Loud]

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        Loud.made.append(self)


@pytest.fixture
def made() -> Iterator[list[Loud]]:
    Loud.made = []
    yield Loud.made
    Loud.made = []


def by_dict(**more: Any) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": {"()": Loud}},
            "root": {"level": "INFO", "handlers": ["console"]},
            **more,
        }
    )


def test_lines_are_captured_again_after_an_applications_own_configuration(
    root: logging.Logger, seen: Captured, made: list[Loud]
) -> None:
    by_dict()
    wk.instrument(flask.Flask("shop"))  # adopts what has happened since
    logging.getLogger("shop").info("said after it")
    assert seen.messages() == ["said after it"]
    assert made
    assert not set(made) & set(root.handlers)  # one line, not two
    wk.shutdown()
    assert set(made) <= set(root.handlers)


def test_a_dict_that_configures_logging_after_us_is_followed_at_once(
    seen: Captured, made: list[Loud], capsys: pytest.CaptureFixture[str]
) -> None:
    by_dict(disable_existing_loggers=True)
    logging.getLogger("shop.made.after").info("password=hunter2")
    assert seen.messages() == ["password=[redacted]"]
    assert capsys.readouterr().out == ""


def test_a_root_logger_that_was_configured_to_print_nothing_is_heard(seen: Captured, root: logging.Logger) -> None:
    by_dict(handlers={}, root={"level": "INFO", "handlers": []})
    logging.getLogger("shop").info("heard")
    assert seen.messages() == ["heard"]


def test_our_own_warnings_outlive_the_disabling_of_all_loggers(seen: Captured, made: list[Loud]) -> None:
    by_dict(disable_existing_loggers=True)
    boundary.say_once("a place of this test", "watchkeeper says so")
    assert seen.messages() == ["watchkeeper says so"]


def test_a_file_that_configures_logging_is_followed(seen: Captured, tmp_path: Path, capfd: Any) -> None:
    config = tmp_path / "logging.ini"
    config.write_text(
        textwrap.dedent(f"""
        [loggers]
        keys=root,shop
        [handlers]
        keys=console,file
        [formatters]
        keys=
        [logger_root]
        level=INFO
        handlers=console
        [logger_shop]
        level=INFO
        qualname=shop
        propagate=0
        handlers=console,file
        [handler_console]
        class=StreamHandler
        args=(sys.stdout,)
        [handler_file]
        class=FileHandler
        args=({str(tmp_path / "shop.log")!r},)
        """)
    )
    logging.config.fileConfig(config, disable_existing_loggers=False)
    logging.getLogger("shop").info("an order")
    logging.getLogger("other").info("a line")
    assert seen.messages() == ["an order", "a line"]
    assert (tmp_path / "shop.log").read_text() == "an order\n"
    assert capfd.readouterr().out == ""


def test_basic_config_works_as_if_we_were_not_there(tmp_path: Path, root: logging.Logger) -> None:
    root.handlers.clear()
    with capture() as seen:
        logging.basicConfig(filename=tmp_path / "app.log", level=logging.DEBUG, format="%(levelname)s %(message)s")
        logging.getLogger("shop").debug("fine")
        logging.basicConfig(level=logging.ERROR)  # which has no effect the second time
        logging.getLogger("shop").debug("still")
    assert seen.messages() == ["fine", "still"]
    assert (tmp_path / "app.log").read_text() == "DEBUG fine\nDEBUG still\n"


def test_basic_config_that_prints_is_replaced_and_has_its_effect_once(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    root.handlers.clear()
    with capture() as seen:
        logging.basicConfig(level=logging.INFO)
        logging.basicConfig(level=logging.ERROR)
        logging.getLogger("shop").info("fine")
        logging.basicConfig(level=logging.INFO, force=True)
        logging.getLogger("shop").info("again")
    assert seen.messages() == ["fine", "again"]
    assert capsys.readouterr().err == ""
    assert [type(handler) for handler in root.handlers] == [logging.StreamHandler]


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_a_logger_that_prints_and_tells_nobody_is_heard_and_its_file_stays(
    first: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Django's LOGGING has it."""
    logger = logging.getLogger("shop")

    def configure() -> None:
        logger.addHandler(logging.StreamHandler())
        logger.addHandler(logging.FileHandler(tmp_path / "shop.log"))
        logger.setLevel(logging.INFO)
        logger.propagate = False

    if first == "theirs":
        configure()
    theirs = list(logger.handlers)
    with capture() as seen:
        if first == "ours":
            configure()
        logger.info("token=hunter2", extra={"order_id": 7})
        (record,) = seen.records
        assert (record.message, record.fields) == ("token=[redacted]", {"order_id": 7})
    assert (tmp_path / "shop.log").read_text() == "token=hunter2\n"
    assert capsys.readouterr().err == ""
    assert len(logger.handlers) == 2
    assert not theirs or logger.handlers == theirs
    assert logger.propagate is False


@pytest.mark.parametrize(
    "make",
    [
        lambda: logging.StreamHandler(sys.stdout),
        lambda: logging.StreamHandler(sys.__stderr__),
        lambda: logging.FileHandler("/dev/stdout"),
        RichHandler,
        lambda: RichHandler(console=Console(stderr=True)),
        lambda: logging.handlers.MemoryHandler(1, target=logging.StreamHandler()),
        type("Coloured", (logging.StreamHandler,), {}),
    ],
    ids=["stdout", "stderr", "device", "rich", "rich_stderr", "memory", "subclass"],
)
@pytest.mark.parametrize("where", ["", "shop", "shop.orders"])
def test_a_line_is_said_once_whatever_prints_it_besides(make: Any, where: str, seen: Captured, capfd: Any) -> None:
    logger = logging.getLogger(where)
    handler = make()
    logger.addHandler(handler)
    logging.getLogger("shop").addHandler(logging.StreamHandler())
    logging.getLogger("shop.orders").warning("ordered")
    handler.close()
    assert seen.messages() == ["ordered"]
    assert capfd.readouterr() == ("", "")
    logger.removeHandler(handler)


def test_a_queue_in_between_prints_nothing_and_keeps_its_files(tmp_path: Path, seen: Captured, capsys: Any) -> None:
    """As `dictConfig` builds it since Python 3.12, and Litestar does."""

    class Handler(logging.handlers.QueueHandler):
        def __init__(self, *handlers: logging.Handler) -> None:
            super().__init__(queue.Queue())
            self.listener = logging.handlers.QueueListener(self.queue, *handlers)

    logger = logging.getLogger("shop")
    printing, file = logging.StreamHandler(), logging.FileHandler(tmp_path / "shop.log")
    for handlers in ((printing,), (printing, file)):
        handler = Handler(*handlers)
        handler.listener.start()
        logger.handlers.clear()
        logger.addHandler(handler)
        logger.warning("line %d", len(handlers))
        handler.listener.stop()
    assert seen.messages() == ["line 1", "line 2"]
    assert (tmp_path / "shop.log").read_text() == "line 2\n"
    assert capsys.readouterr().err == ""
    wk.shutdown()
    assert logger.handlers == [handler]
    assert handler.listener.handlers == (printing, file)
    file.close()


def test_what_a_replaced_handler_kept_out_stays_out_unless_our_own_level_asks_for_it(seen: Captured) -> None:
    logger = logging.getLogger("shop")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: "noise" not in record.getMessage())
    logger.addHandler(handler)
    handler.setLevel(logging.ERROR)
    logger.debug("too fine for both")
    logger.info("for us")
    logger.error("noise")
    handler.setLevel(logging.DEBUG)
    logger.debug("fine for theirs")
    assert seen.messages() == ["for us", "fine for theirs"]


def test_a_handler_that_prints_where_django_debugs_is_replaced_in_production_too(seen: Captured) -> None:
    handler = logging.StreamHandler()
    handler.addFilter(type("RequireDebugTrue", (), {"filter": lambda *_: False, "__module__": "django.utils.log"})())
    logger = logging.getLogger("shop")
    logger.addHandler(handler)
    logger.propagate = False
    logger.warning("heard")
    assert seen.messages() == ["heard"]


def test_a_handler_that_the_application_takes_off_again_leaves_nothing_behind(seen: Captured) -> None:
    logger = logging.getLogger("shop")
    logger.propagate = False
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    logger.addHandler(handler)
    logger.removeHandler(handler)
    assert logger.handlers == []
    root = logging.getLogger()
    root.addHandler(handler)
    root.removeHandler(handler)
    logging.getLogger("shop.orders").warning("for nobody")
    logging.getLogger("other").warning("heard")
    assert seen.messages() == ["heard"]


def test_handlers_can_be_taken_off_until_there_are_none(seen: Captured, root: logging.Logger) -> None:
    root.addHandler(logging.StreamHandler())
    while root.handlers:
        root.removeHandler(root.handlers[0])
    root.addHandler(logging.NullHandler())
    logging.getLogger("shop").warning("heard")
    assert seen.messages() == ["heard"]


def test_a_program_of_its_own_prints_json_only(tmp_path: Path) -> None:
    """Without a test's own handlers in between."""
    (tmp_path / "program.py").write_text(
        textwrap.dedent("""
        import logging, logging.config, sys
        import watchkeeper as wk

        wk.configure()
        logging.config.dictConfig({
            "version": 1,
            "handlers": {"console": {"class": "logging.StreamHandler"}},
            "loggers": {"shop": {"handlers": ["console"], "level": "INFO", "propagate": False}},
            "root": {"handlers": ["console"], "level": "INFO"},
        })
        with wk.span("work"):
            logging.getLogger("shop").info("one")
            logging.getLogger("other").info("two")
            logging.getLogger("other").debug("not this")
        """)
    )
    nowhere = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "LOGS", "METRICS")}
    done = ended([sys.executable, "program.py"], tmp_path, **nowhere)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["message"], len(line["trace_id"])) for line in lines] == [("one", 32), ("two", 32)]
    assert done.stderr == ""
