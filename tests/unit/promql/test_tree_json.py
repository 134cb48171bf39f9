from __future__ import annotations

import json
from typing import Any

import pytest

from watchkeeper_server.promql.parser import parse
from watchkeeper_server.promql.tree_json import to_json

NAME = {"name": "__name__", "value": "a", "type": "="}
PLAIN = {"offset": 0, "timestamp": None, "startOrEnd": None}
SELECTOR = {"type": "vectorSelector", "name": "a", "matchers": [NAME], **PLAIN, "anchored": False, "smoothed": False}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e3", {"type": "numberLiteral", "val": "1000"}),
        ("5m", {"type": "numberLiteral", "val": "300"}),
        ("-Inf", {"type": "numberLiteral", "val": "-Inf"}),
        ("'x'", {"type": "stringLiteral", "val": "x"}),
        ("a", SELECTOR),
        ("a offset -1s @ 1.5", {**SELECTOR, "offset": -1000, "timestamp": 1500}),
        ("a @ start()", {**SELECTOR, "startOrEnd": "start"}),
        ("a smoothed", {**SELECTOR, "smoothed": True}),
        ("a{b!~'c'}", {**SELECTOR, "matchers": [{"name": "b", "value": "c", "type": "!~"}, NAME]}),
        ("a[5m] offset 1m", {**SELECTOR, "type": "matrixSelector", "range": 300_000, "offset": 60_000}),
        ("a[5m + step()]", {**SELECTOR, "type": "matrixSelector", "range": 0}),
        (
            "a[5m:] @ end()",
            {"type": "subquery", "expr": SELECTOR, "range": 300_000, "step": 0, **PLAIN, "startOrEnd": "end"},
        ),
        ("a[5m:30s]", {"type": "subquery", "expr": SELECTOR, "range": 300_000, "step": 30_000, **PLAIN}),
        ("-a", {"type": "unaryExpr", "op": "-", "expr": SELECTOR}),
        ("(a)", {"type": "parenExpr", "expr": SELECTOR}),
    ],
)
def test_each_kind_of_node_has_its_object(text: str, expected: dict[str, Any]) -> None:
    assert to_json(parse(text, experimental=True)) == expected


def test_a_call_tells_the_functions_signature() -> None:
    function = {"name": "round", "argTypes": ["vector", "scalar"], "variadic": 1, "returnType": "vector"}
    assert to_json(parse("round(a)")) == {"type": "call", "func": function, "args": [SELECTOR]}


def test_an_aggregation_tells_its_grouping() -> None:
    number = {"type": "numberLiteral", "val": "3"}
    expected = {"type": "aggregation", "op": "topk", "expr": SELECTOR, "param": number}
    assert to_json(parse("topk without (x) (3, a)")) == {**expected, "grouping": ["x"], "without": True}
    assert to_json(parse("sum(a)"))["param"] is None


def test_operators_tell_their_matching() -> None:
    matching = {"card": "many-to-one", "labels": ["x"], "on": True, "include": ["y"]}
    binary = {"type": "binaryExpr", "op": ">", "lhs": SELECTOR, "rhs": SELECTOR, "bool": True}
    assert to_json(parse("a > bool on (x) group_left (y) fill_left (0) a", experimental=True)) == {
        **binary,
        "matching": {**matching, "fillValues": {"lhs": 0.0, "rhs": None}},
    }
    assert to_json(parse("a + 1"))["matching"] is None
    assert to_json(parse("a or a"))["matching"]["card"] == "many-to-many"


def test_it_can_be_written_as_json() -> None:
    json.dumps(to_json(parse("sum by (x) (rate(a{b='c'}[5m:1m])) or vector(1)")))
