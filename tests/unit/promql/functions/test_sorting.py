from __future__ import annotations

import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.functions import INF, NAN, instant, vector, written
from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.functions.sorting import natural
from watchkeeper_server.promql.histograms import from_rows
from watchkeeper_server.promql.values import Matrix

VALUES = vector({"a": 3, "b": NAN, "c": -INF, "d": None, "e": 7})


def test_values_ascend_or_descend_with_nan_last() -> None:
    assert [*written(instant("sort", VALUES))] == ["c", "a", "e", "b"]
    assert [*written(instant("sort_desc", VALUES))] == ["e", "a", "c", "b"]


def test_histograms_have_no_place_by_value() -> None:
    mixed = Matrix(
        VALUES.labels, VALUES.values, VALUES.present, np.array([[0], [-1], [-1], [-1], [-1]]), from_rows([{}])
    )
    assert [*written(instant("sort", mixed))] == ["c", "e", "b"]
    by_label = instant("sort_by_label", mixed, "x")
    assert isinstance(by_label, Matrix)
    assert by_label.histogram_of is not None
    assert by_label.histogram_of.tolist() == [[0], [-1], [-1], [-1]]


def test_labels_are_compared_in_turn_and_numbers_in_them_by_worth() -> None:
    series = vector({f'x{{cpu="{cpu}",dev="{dev}"}}': 1 for cpu in ("cpu10", "cpu9") for dev in ("b", "a")})
    expected = [f'x{{cpu="{cpu}",dev="{dev}"}}' for cpu in ("cpu9", "cpu10") for dev in ("a", "b")]
    assert [*written(instant("sort_by_label", series, "cpu", "dev"))] == expected
    assert [*written(instant("sort_by_label", series, "cpu"))] == expected
    assert [*written(instant("sort_by_label_desc", series, "cpu", "dev"))] == expected[::-1]
    assert [*written(instant("sort_by_label_desc", series, "cpu"))] == expected[::-1]


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("", "a"),
        ("a", "a0"),
        ("a9", "a10"),
        ("9", "a"),
        ("1.9", "1.10"),
        ("-1", "0"),
        ("a9z", "a10a"),
        ("8", "9" * 5000),
    ],
)
def test_natural_order_is_that_of_a_reader(less: str, more: str) -> None:
    assert natural(less) < natural(more)


def _less(left: str, right: str) -> bool:
    """Chunk by chunk: numbers by worth, all else as text; what ends first is less."""
    chunks = [re.findall("[0-9]+|[^0-9]+", each) for each in (left, right)]
    for one, other in zip(*chunks, strict=False):
        numbers = one[0] in string.digits and other[0] in string.digits
        first, second = (int(one), int(other)) if numbers else (one, other)
        if first != second:
            return bool(first < second)  # type: ignore[operator]
    return len(chunks[0]) < len(chunks[1])


@given(st.text("019a-é", max_size=6), st.text("019a-é", max_size=6))
def test_natural_order_goes_chunk_by_chunk(left: str, right: str) -> None:
    assert (natural(left) < natural(right)) == _less(left, right)


@pytest.mark.parametrize("name", ["sort", "sort_desc", "sort_by_label", "sort_by_label_desc"])
def test_sorting_a_range_query_is_in_vain_and_said_to_be(name: str) -> None:
    annotations = Annotations()
    given_ = vector({"b": [1, 2], "a": [0, None]})
    labels = ["x"] if "label" in name else []
    assert [*written(instant(name, given_, *labels, annotations=annotations))] == ["b", "a"]
    assert annotations.warnings == [
        "PromQL warning: sort is ineffective for range queries since results are always ordered by labels"
    ]
