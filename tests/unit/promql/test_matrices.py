from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.matrices import merged, require_different
from watchkeeper_server.promql.values import Matrix


def matrix(labels: list[dict[str, str]], present: list[list[int]]) -> Matrix:
    cells = np.array(present, np.bool_).reshape(len(labels), -1)
    return Matrix(list(labels), np.arange(cells.size, dtype=np.float64).reshape(cells.shape), cells)


rows = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("ab"), st.sampled_from("12"), max_size=2),
        st.lists(st.integers(0, 1), min_size=2, max_size=2),
    ),
    min_size=1,
    max_size=6,
)


def test_series_of_the_same_labels_are_refused_even_at_different_steps() -> None:
    with pytest.raises(ExecutionError, match="vector cannot contain metrics with the same labelset"):
        require_different(matrix([{"a": "1"}, {"a": "2"}, {"a": "1"}], [[1, 0], [1, 1], [0, 1]]))


def test_a_series_without_samples_is_the_same_as_no_other() -> None:
    require_different(matrix([{"a": "1"}, {"a": "1"}], [[0, 0], [1, 1]]))


@given(rows)
def test_series_are_different_if_no_two_with_samples_have_the_same_labels(
    several: list[tuple[dict[str, str], list[int]]],
) -> None:
    made = matrix([labels for labels, _ in several], [present for _, present in several])
    seen = [frozenset(labels.items()) for labels, present in several if any(present)]
    if len({*seen}) == len(seen):
        require_different(made)
    else:
        with pytest.raises(ExecutionError):
            require_different(made)


def test_series_of_the_same_labels_become_one_where_no_step_has_two() -> None:
    joined = merged(matrix([{"a": "1"}, {"b": "1"}, {"a": "1"}], [[1, 0], [0, 1], [0, 1]]))
    assert joined.labels == [{"a": "1"}, {"b": "1"}]
    assert joined.present.tolist() == [[True, True], [False, True]]
    assert joined.values[joined.present].tolist() == [0.0, 5.0, 3.0]
    with pytest.raises(ExecutionError):
        merged(matrix([{"a": "1"}, {"a": "1"}], [[1, 1], [0, 1]]))
