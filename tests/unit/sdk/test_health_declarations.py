"""A check that cannot be is refused where it is written, in words that say what could be."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest

import watchkeeper as wk
from watchkeeper import ConfigurationError
from watchkeeper.health.registry import registry


def works() -> bool:
    return True


wrong: Any = wk  # whose functions are called with what their annotations do not allow


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: wrong.health_check(works), 'health_check is given a name: write @health_check("payments")'),
        (
            lambda: wrong.health_check("a", timeout="5")(works),
            "the timeout of health check 'a' is '5', a str: it must be",
        ),
        (
            lambda: wrong.health_check("a", timeout=None)(works),
            "the timeout of health check 'a' is a NoneType: it must be",
        ),
        (lambda: wrong.health_check("a", timeout=60)(works), "is 60 s: it must be above 0, and 5 at most"),
        (
            lambda: wrong.health_check("a", interval=dt.timedelta(seconds=1))(works),
            "the interval of health check 'a' is a timedelta: it must be a number",
        ),
        (
            lambda: wrong.health_check("a", weight=True)(works),
            "the weight of health check 'a' is a bool: it must be",
        ),
        (lambda: wrong.check_database("sqlite:///x"), "such as lambda: sqlite3.connect(path)"),
        (
            lambda: wrong.check_database(works, slow_seconds="1"),
            "slow_seconds of health check 'database' is '1', a str",
        ),
        (lambda: wrong.check_broker("redis://h"), "; a Redis is checked by check_cache"),
        (lambda: wrong.check_broker("kafka://h"), ", which is how Kafka is checked: tcp://kafka:9092"),
        (lambda: wrong.check_cache("redis://h", hit_rate="half"), "hit_rate of health check 'cache' is 'half', a str"),
        (lambda: wrong.check_http(None, "billing"), "check_http got a NoneType: its URL must be text"),
        (lambda: wrong.check_http("http://x", "billing", statuses=200), "is 200: give several, such as (200, 204)"),
        (lambda: wrong.check_http("http://x", "billing", headers="a"), "headers of health check 'billing' is a str"),
        (
            lambda: wrong.check_http("http://x", "billing", retries="a"),
            "retries of health check 'billing' is 'a', a str",
        ),
        (
            lambda: wrong.check_memory(warning=50, limit=60),
            "they are shares, above 0 and up to 1, the warning first, such",
        ),
        (
            lambda: wrong.check_disk(warning="50"),
            "the warning of health check 'disk' is '50', a str: it must be a number",
        ),
    ],
)
def test_a_check_that_cannot_be_is_refused_where_it_is_written(declare: Callable[[], Any], message: str) -> None:
    before = registry.checks()
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        declare()
    assert registry.checks() == before
