from __future__ import annotations

import pytest

from watchkeeper_server.promql.signatures import AGGREGATIONS, SIGNATURES
from watchkeeper_server.promql.tree import ValueType


def test_each_is_found_by_its_own_name() -> None:
    assert all(name == signature.name for name, signature in SIGNATURES.items())
    assert all(name == signature.name for name, signature in AGGREGATIONS.items())


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("time", 0, 0), ("hour", 0, 1), ("round", 1, 2), ("label_join", 3, None), ("histogram_quantiles", 3, 12)],
)
def test_a_function_knows_how_many_arguments_it_takes(name: str, least: int, most: int | None) -> None:
    assert (SIGNATURES[name].least, SIGNATURES[name].most) == (least, most)


def test_arguments_past_the_last_are_like_it() -> None:
    assert SIGNATURES["label_join"].argument(7) == ValueType.STRING


def test_no_function_is_called_like_an_aggregation() -> None:
    assert SIGNATURES.keys().isdisjoint(AGGREGATIONS)
