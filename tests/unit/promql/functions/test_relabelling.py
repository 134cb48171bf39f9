from __future__ import annotations

import pytest

from support.functions import instant, vector, written
from watchkeeper_server.promql.errors import ExecutionError

HOSTS = 'up{host="web-10.eu",job="api"}'


def _replaced(target: str, replacement: str, source: str, pattern: str, series: str = HOSTS) -> list[str]:
    return [*written(instant("label_replace", vector({series: 1}), target, replacement, source, pattern))]


@pytest.mark.parametrize(
    ("replacement", "value"),
    [
        ("$1", "web"),
        ("${1}x", "webx"),
        ("$1x", ""),
        ("$number/$zone", "10/eu"),
        ("${zone}", "eu"),
        ("$0", "web-10.eu"),
        ("$$1", "$1"),
        ("$", "$"),
        ("a$-b", "a$-b"),
        ("${1", "${1"),
        ("${}", "${}"),
        ("$01", ""),
        ("$9", ""),
        ("$unknown", ""),
        ("<$4>", "<>"),
    ],
)
def test_a_replacement_is_expanded_as_go_does(replacement: str, value: str) -> None:
    pattern = r"(\w+)-(?P<number>\d+)\.(?P<zone>[a-z]+)(:\d+)?"
    expected = f'up{{host="web-10.eu",job="api",new="{value}"}}' if value else HOSTS
    assert _replaced("new", replacement, "host", pattern) == [expected]


def test_all_of_the_value_must_match() -> None:
    assert _replaced("job", "x", "host", "web") == [HOSTS]
    assert _replaced("job", "x", "host", "web.*") == ['up{host="web-10.eu",job="x"}']


def test_a_dot_matches_the_end_of_a_line() -> None:
    assert _replaced("job", "$1", "job", "a(.*)i", 'up{job="a\ni"}') == ['up{job="\n"}']


def test_an_absent_label_is_empty_and_an_empty_one_absent() -> None:
    assert _replaced("job", "none", "missing", "") == ['up{host="web-10.eu",job="none"}']
    assert _replaced("job", "", "host", ".*") == ['up{host="web-10.eu"}']


def test_the_name_is_a_label_too() -> None:
    assert _replaced("__name__", "${1}_again", "__name__", "(.*)", "up") == ["up_again"]


@pytest.mark.parametrize(
    ("target", "pattern", "message"),
    [
        ("x", "(", "invalid regular expression in label_replace(): ("),
        ("x", r"(?!a)", "invalid regular expression in label_replace(): (?!a)"),
        ("", ".*", "invalid destination label name in label_replace(): "),
        ("\ufffd", ".*", "invalid destination label name in label_replace(): \ufffd"),
    ],
)
def test_what_cannot_be_replaced_is_said(target: str, pattern: str, message: str) -> None:
    with pytest.raises(ExecutionError) as raised:
        _replaced(target, "", "job", pattern)
    assert str(raised.value) == message


def test_values_are_joined_in_their_order() -> None:
    result = instant("label_join", vector({'x{a="1",b="2"}': 1}), "c", "-", "b", "missing", "a")
    assert written(result) == {'x{a="1",b="2",c="2--1"}': [1]}


def test_nothing_joined_is_no_label() -> None:
    assert written(instant("label_join", vector({'x{a="1"}': 1}), "a", "-")) == {"x": [1]}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["", "-", "a"], "invalid destination label name in label_join(): "),
        (["a", "-", ""], "invalid source label name in label_join(): "),
    ],
)
def test_labels_to_join_need_names(names: list[str], message: str) -> None:
    with pytest.raises(ExecutionError) as raised:
        instant("label_join", vector({"x": 1}), *names)
    assert str(raised.value) == message
