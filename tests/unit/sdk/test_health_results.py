from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.health import report
from watchkeeper import HealthResult
from watchkeeper.health.results import VALUES, above, report_of, result_of, worst

STATUSES = list(VALUES)  # from the best to the worst
CHECKS = st.lists(
    st.builds(
        report,
        st.text(min_size=1, max_size=4),
        st.sampled_from(STATUSES),
        critical=st.booleans(),
        weight=st.floats(0.001, 1e6),
    ),
    unique_by=lambda check: check.name,
    max_size=12,
)


@given(CHECKS, st.randoms(use_true_random=False))
def test_the_aggregate_does_not_depend_on_the_order_of_checks(checks: list[Any], shuffle: random.Random) -> None:
    shuffled = list(checks)
    shuffle.shuffle(shuffled)
    one, other = report_of(checks), report_of(shuffled)
    assert (one.status, one.score) == (other.status, other.score)


@given(CHECKS.filter(bool), st.data())
def test_the_aggregate_never_gets_better_when_a_check_gets_worse(checks: list[Any], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(checks) - 1))
    worse = data.draw(st.sampled_from(STATUSES[STATUSES.index(checks[at].status) :]))
    before = report_of(checks)
    after = report_of([*checks[:at], replace(checks[at], status=worse), *checks[at + 1 :]])
    assert after.score <= before.score
    assert STATUSES.index(after.status) >= STATUSES.index(before.status)


@given(CHECKS)
def test_the_aggregate_says_what_its_checks_say(checks: list[Any]) -> None:
    found = report_of(checks)
    assert 0 <= found.score <= 100
    assert (found.status == "unhealthy") == any(c.critical and c.status == "unhealthy" for c in checks)
    assert (found.status == "healthy") == all(c.status == "healthy" for c in checks)


@given(CHECKS)
def test_all_healthy_is_a_hundred_and_all_unhealthy_is_nothing(checks: list[Any]) -> None:
    assert report_of([replace(check, status="healthy") for check in checks]).score == 100
    if checks:
        assert report_of([replace(check, status="unhealthy") for check in checks]).score == 0


def test_a_weight_says_how_much_a_check_counts() -> None:
    found = report_of([report("heavy", "unhealthy", weight=3), report("light", weight=1)])
    assert (found.status, found.score) == ("degraded", 25.0)


class Hostile(dict[str, Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, HealthResult()),
        (True, HealthResult()),
        (False, HealthResult("unhealthy", "returned False")),
        (HealthResult("degraded", "old"), HealthResult("degraded", "old")),
        ({}, HealthResult()),
        ({"rows": 3}, HealthResult(details={"rows": 3})),
        ({"status": "degraded", "message": "old", "age": 7}, HealthResult("degraded", "old", {"age": 7})),
        ({"status": "UP"}, HealthResult()),
        ({"status": "warn"}, HealthResult("degraded")),
        ({"status": False}, HealthResult("unhealthy")),
        (
            {"status": "so so"},
            HealthResult("unhealthy", "returned the status 'so so': use one of healthy, degraded, unhealthy"),
        ),
        ("ok", HealthResult("unhealthy", "returned str: return None, True, False, a HealthResult or a dict, or raise")),
        (0, HealthResult("unhealthy", "returned int: return None, True, False, a HealthResult or a dict, or raise")),
    ],
)
def test_what_a_check_returns_is_understood(value: Any, expected: HealthResult) -> None:
    assert result_of(value) == expected


def test_a_result_has_one_of_three_statuses() -> None:
    with pytest.raises(ValueError, match="'fine': use one of healthy, degraded, unhealthy"):
        HealthResult("fine")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "status"), [(0.79, "healthy"), (0.8, "degraded"), (0.89, "degraded"), (0.9, "unhealthy")]
)
def test_limits_belong_to_what_they_begin(share: float, status: str) -> None:
    assert above("disk", share, 0.8, 0.9).status == status


def test_several_findings_are_the_worst_of_them_with_all_details() -> None:
    found = worst(
        HealthResult(message="fine", details={"a": 1}),
        HealthResult("degraded", "slow", {"b": 2}),
        HealthResult("unhealthy", "gone"),
    )
    assert found == HealthResult("unhealthy", "slow; gone", {"a": 1, "b": 2})
    details: Mapping[str, Any] = worst().details
    assert details == {}
