"""Applications configure logging when they are imported, which is after the SDK where it was started from outside."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Iterator

import flask
import pytest

import watchkeeper as wk
from watchkeeper.testing import Captured


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_lines_are_captured_again_after_an_applications_own_configuration(root: logging.Logger, seen: Captured) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": {"class": "logging.StreamHandler"}},
            "root": {"level": "INFO", "handlers": ["console"]},
        }
    )
    theirs = list(root.handlers)
    wk.instrument(flask.Flask("shop"))  # adopts what has happened since
    logging.getLogger("shop").info("said after it")
    assert seen.messages() == ["said after it"]
    assert not set(theirs) & set(root.handlers)  # one line, not two
    wk.shutdown()
    assert set(theirs) <= set(root.handlers)
