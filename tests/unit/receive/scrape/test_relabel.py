from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.receive.scrape.relabel import Regex, RelabelRule, relabel

Rule = dict[str, object]


def rule(**fields: object) -> RelabelRule:
    if isinstance(fields.get("regex"), str):
        fields["regex"] = Regex(str(fields["regex"]))
    return RelabelRule(**fields)  # type: ignore[arg-type]  a table of cases


def applied(labels: dict[str, str], *rules: RelabelRule, utf8: bool = True) -> dict[str, str] | None:
    result = dict(labels)
    if not relabel(result, rules, utf8=utf8):
        return None
    return {name: value for name, value in result.items() if value}


LABELS = {"a": "foo", "b": "bar", "c": "baz"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"source_labels": ("a",), "regex": "f(.*)", "target_label": "d", "replacement": "ch${1}-ch$1"},
         LABELS | {"d": "choo-choo"}),
        ({"source_labels": ("a", "b"), "regex": "(f.*);(.*)r", "target_label": "a", "replacement": "b${1}${2}m"},
         LABELS | {"a": "bfooBAm".replace("BA", "ba")}),
        ({"source_labels": ("a",), "regex": "o", "target_label": "d"}, LABELS),  # anchored
        ({"source_labels": ("a",), "target_label": "a", "replacement": ""}, {"b": "bar", "c": "baz"}),
        ({"source_labels": ("a",), "regex": "(?P<x>f).*", "target_label": "$x_t", "replacement": "1"}, LABELS),
        ({"source_labels": ("a",), "regex": "(?P<x>f).*", "target_label": "${x}_t", "replacement": "$$1"},
         LABELS | {"f_t": "$1"}),
        ({"source_labels": ("missing",), "target_label": "d", "replacement": "fixed"}, LABELS | {"d": "fixed"}),
        ({"source_labels": ("a",), "regex": "(x)?foo", "target_label": "a", "replacement": "[$1][$2][$01]"},
         LABELS | {"a": "[][][]"}),
        ({"source_labels": ("a",), "separator": "", "target_label": "d"}, LABELS | {"d": "foo"}),
        ({"action": "keep", "source_labels": ("a",), "regex": "f.*"}, LABELS),
        ({"action": "keep", "source_labels": ("a",), "regex": "o.*"}, None),
        ({"action": "drop", "source_labels": ("a", "b"), "regex": "foo;bar"}, None),
        ({"action": "drop", "source_labels": ("a",), "regex": "x"}, LABELS),
        ({"action": "keepequal", "source_labels": ("a",), "target_label": "b"}, None),
        ({"action": "keepequal", "source_labels": ("missing",), "target_label": "gone"}, LABELS),
        ({"action": "dropequal", "source_labels": ("a",), "target_label": "a"}, None),
        ({"action": "dropequal", "source_labels": ("a",), "target_label": "b"}, LABELS),
        ({"action": "labelmap", "regex": "(b|c)", "replacement": "x_$1"}, LABELS | {"x_b": "bar", "x_c": "baz"}),
        ({"action": "labeldrop", "regex": "[ab]"}, {"c": "baz"}),
        ({"action": "labelkeep", "regex": "[ab]"}, {"a": "foo", "b": "bar"}),
        ({"action": "UPPERCASE", "source_labels": ("a", "b"), "target_label": "d"}, LABELS | {"d": "FOO;BAR"}),
        ({"action": "lowercase", "source_labels": ("a",), "target_label": "a"}, LABELS),
    ],
)  # fmt: skip
def test_each_action_does_its_work(fields: Rule, expected: dict[str, str] | None) -> None:
    assert applied(LABELS, rule(**fields)) == expected


def test_rules_apply_in_turn_until_one_drops() -> None:
    first = rule(source_labels=("a",), target_label="d", replacement="$1$1")
    then = rule(action="keep", source_labels=("d",), regex="foofoo")
    never = rule(action="drop", source_labels=("d",), regex=".*oo")
    assert applied(LABELS, first, then) == LABELS | {"d": "foofoo"}
    assert applied(LABELS, first, then, never) is None


@given(st.text(max_size=20), st.integers(1, 2**64 - 1))
def test_hashmod_is_the_end_of_md5(value: str, modulus: int) -> None:
    result = applied({"a": value}, rule(action="hashmod", source_labels=("a",), target_label="m", modulus=modulus))
    assert result is not None
    assert result["m"] == str(int(hashlib.md5(value.encode()).hexdigest()[16:], 16) % modulus)  # noqa: S324  as Prometheus


@given(st.text(max_size=10))
def test_the_default_rule_copies_any_value(value: str) -> None:
    assert applied({"a": value}, rule(source_labels=("a",), target_label="b")) == (
        {"a": value, "b": value} if value else {}
    )


@given(st.text(max_size=10))
def test_letters_change_one_by_one(value: str) -> None:
    for action in ("lowercase", "uppercase"):
        result = applied({"a": value}, rule(action=action, source_labels=("a",), target_label="b")) or {}
        assert len(result.get("b", "")) == len(value)
    assert applied({"a": "straße"}, rule(action="uppercase", source_labels=("a",), target_label="a")) == {"a": "STRAßE"}


@given(st.dictionaries(st.sampled_from("abcd"), st.text(max_size=3), max_size=4), st.text("abc$1{}x", max_size=6))
def test_no_template_breaks_a_replacement(labels: dict[str, str], template: str) -> None:
    result = applied(labels, rule(source_labels=("a",), regex="(.*)", target_label="t", replacement=template))
    assert result is not None
    assert {name for name in result if name != "t"} <= set(labels)


def test_a_dot_matches_newlines() -> None:
    assert applied({"a": "x\ny"}, rule(action="keep", source_labels=("a",), regex="x.y")) is not None


def test_without_utf8_a_name_made_by_a_rule_must_be_plain() -> None:
    made = rule(source_labels=("a",), target_label="x_$1", replacement="1")
    assert applied({"a": "b.c"}, made) == {"a": "b.c", "x_b.c": "1"}
    assert applied({"a": "b.c"}, made, utf8=False) == {"a": "b.c"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"action": "explode"}, 'unknown relabel action "explode"'),
        ({"action": "hashmod", "target_label": "a"}, "requires non-zero modulus"),
        ({"source_labels": ("a",)}, "replace action requires 'target_label' value"),
        ({"action": "lowercase", "target_label": "a", "replacement": "x"}, "'replacement' can not be set"),
        (
            {"action": "keepequal", "target_label": "a", "regex": "x"},
            "requires only 'source_labels' and `target_label`",
        ),
        ({"action": "labeldrop", "regex": "x", "target_label": "a"}, "requires only 'regex'"),
        ({"action": "labelkeep", "regex": "x", "source_labels": ("a",)}, "requires only 'regex'"),
        ({"regex": "("}, "error parsing regexp: missing"),
        ({"regex": "a)(b"}, "error parsing regexp: unexpected"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields: Rule, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"target_label": "a.b"},
        {"target_label": "a-$1"},
        {"action": "hashmod", "target_label": "a.b", "modulus": 2},
        {"action": "labelmap", "replacement": "a.$1"},
    ],
)
def test_names_that_only_utf8_allows_are_refused_without_it(fields: Rule) -> None:
    made = rule(**fields)
    made.check_names(utf8=True)
    with pytest.raises(ValueError, match=r"is invalid '(target_label|replacement)' for"):
        made.check_names(utf8=False)
