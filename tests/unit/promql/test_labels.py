from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.promql.labels import drop_name, key, keys, order, without

names = st.sampled_from(["__name__", "__type__", "__unit__", "a", "a!", "ab", "b", "é"])
values = st.sampled_from(["1", "10", "1 ", '1"', "2", "é", "a"])
label_sets = st.dictionaries(names, values, max_size=4)
# the same names for all, or any
several_sets = st.lists(label_sets, max_size=8) | st.sets(names, max_size=4).flatmap(
    lambda same: st.lists(st.fixed_dictionaries(dict.fromkeys(same, values)), max_size=8)
)


@given(several_sets)
def test_keys_are_equal_for_equal_labels_and_for_no_others(several: list[dict[str, str]]) -> None:
    made = keys(several)
    for one, key_of_one in zip(several, made, strict=True):
        for other, key_of_other in zip(several, made, strict=True):
            assert (key_of_one == key_of_other) == (one == other) == (key(one) == key(other))
    assert len({*made}) == len({*map(key, several)})


@given(several_sets)
def test_labels_are_ordered_by_their_names_and_values_in_turn(several: list[dict[str, str]]) -> None:
    items = [sorted(labels.items()) for labels in several]
    assert order(several) == sorted(range(len(items)), key=items.__getitem__)


def test_as_many_labels_with_other_names_are_other_labels() -> None:
    several = [{"a": "1", "b": "2"}, {"a": "1", "c": "2"}, {"b": "1", "a": "1"}]
    assert len({*keys(several)}) == len(several)
    assert order(several) == [2, 0, 1]


def test_an_earlier_name_comes_first_and_so_does_a_set_that_has_no_more() -> None:
    assert order([{"b": "1"}, {"a": "2", "b": "1"}, {"a": "2"}, {}]) == [3, 2, 1, 0]


@given(label_sets, st.sets(names))
def test_what_is_left_are_the_other_labels_in_their_order(labels: dict[str, str], gone: set[str]) -> None:
    before = dict(labels)
    left = without(labels, gone)
    assert [*left.items()] == [(name, value) for name, value in before.items() if name not in gone]
    assert labels == before


def test_the_name_goes_with_what_else_says_which_metric_it_is() -> None:
    assert drop_name({"__name__": "x", "__type__": "counter", "__unit__": "seconds", "a": "1"}) == {"a": "1"}
