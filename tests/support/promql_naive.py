"""PromQL as its documentation reads: one step, one series, one sample at a time; slow, and short enough to be checked.

Only floats, and of the functions only count_over_time and sum_over_time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from watchkeeper_server.promql.tree import (
    Aggregation,
    Binary,
    Call,
    Cardinality,
    Expr,
    Matching,
    MatchOp,
    MatrixSelector,
    Number,
    Paren,
    Subquery,
    Unary,
    VectorSelector,
)

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
NAME = "__name__"
STALE = "stale"


class ConflictError(Exception):
    """Series that do not match as they must."""


@dataclass
class Naive:
    """Evaluates at one time; series are by labels, their samples `(t_ms, value)` with `STALE` for a marker."""

    series: Mapping[Labels, list[tuple[int, float | str]]]
    start: int
    end: int
    lookback: int = 300_000

    def at(self, node: Expr, time: int) -> Vector | float:
        match node:
            case Number():
                return node.value
            case Paren():
                return self.at(node.expr, time)
            case VectorSelector():
                return self._selected(node, time)
            case Unary():
                value = self.at(node.expr, time)
                return (
                    unique([(unnamed(of), -each) for of, each in value.items()]) if isinstance(value, dict) else -value
                )
            case Binary():
                return binary(node, self.at(node.left, time), self.at(node.right, time))
            case Aggregation():
                param = None if node.param is None else self.at(node.param, time)
                return aggregation(node, self.at(node.expr, time), param)
            case Call():
                windows = self._windows(node.args[0], time)
                made = {"count_over_time": len, "sum_over_time": math.fsum}[node.function]
                return unique([(unnamed(of), float(made(values))) for of, values in windows if values])
        raise NotImplementedError

    def _reference(self, node: Any, time: int) -> int:
        at = {"start": self.start, "end": self.end}.get(node.at, node.at)
        return (time if at is None else at) - node.offset

    def _matching(self, node: VectorSelector) -> list[tuple[Labels, list[tuple[int, float | str]]]]:
        assert all(matcher.op == MatchOp.EQUAL for matcher in node.matchers)
        return [
            (of, points)
            for of, points in self.series.items()
            if all(dict(of).get(matcher.name, "") == matcher.value for matcher in node.matchers)
        ]

    def _selected(self, node: VectorSelector, time: int) -> Vector:
        now = self._reference(node, time)
        found = {}
        for of, points in self._matching(node):
            seen = [value for at, value in points if now - self.lookback < at <= now]
            if seen and seen[-1] != STALE:
                found[of] = seen[-1]
        return found

    def _windows(self, node: Expr, time: int) -> list[tuple[Labels, list[float]]]:
        if isinstance(node, MatrixSelector):
            now = self._reference(node.selector, time)
            return [
                (of, [value for at, value in points if now - node.range < at <= now and value != STALE])
                for of, points in self._matching(node.selector)
            ]
        assert isinstance(node, Subquery)
        now = self._reference(node, time)
        found: dict[Labels, list[float]] = {}
        for at in range(now - node.range + 1, now + 1):
            if at % node.step == 0:
                for of, value in self.at(node.expr, at).items():
                    found.setdefault(of, []).append(value)
        return list(found.items())


def unnamed(of: Labels) -> Labels:
    return frozenset(item for item in of if item[0] != NAME)


def unique(pairs: list[tuple[Labels, float]]) -> Vector:
    if len(dict(pairs)) < len(pairs):
        raise ConflictError
    return dict(pairs)


ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": math.fmod,
    "^": math.pow,
    "atan2": math.atan2,
}


def arithmetic(op: str, a: float, b: float) -> float:
    try:
        return ARITHMETIC[op](a, b)
    except ZeroDivisionError:
        return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)
    except ValueError:
        if op == "^" and a == 0:
            return math.copysign(math.inf, a) if b % 2 == 1 else math.inf
        return math.nan


COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}


def binary(node: Binary, left: Vector | float, right: Vector | float) -> Vector | float:
    compares = node.op in COMPARISONS
    if not isinstance(left, dict) and not isinstance(right, dict):
        return float(COMPARISONS[node.op](left, right)) if compares else arithmetic(node.op, left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return sets(node, left, right) if node.op in {"and", "or", "unless"} else vectors(node, left, right)
    pairs = []
    for of, value in (left if isinstance(left, dict) else right).items():
        a, b = (value, right) if isinstance(left, dict) else (left, value)
        if not compares:
            pairs.append((unnamed(of), arithmetic(node.op, a, b)))
        elif node.bool_:
            pairs.append((unnamed(of), float(COMPARISONS[node.op](a, b))))
        elif COMPARISONS[node.op](a, b):
            pairs.append((of, value))
    return unique(pairs)


def group(matching: Matching, of: Labels) -> Labels:
    if matching.on:
        return frozenset(item for item in of if item[0] in matching.labels)
    return frozenset(item for item in of if item[0] not in {*matching.labels, NAME})


def sets(node: Binary, left: Vector, right: Vector) -> Vector:
    matching = node.matching or Matching()
    in_left, in_right = ({group(matching, of) for of in side} for side in (left, right))
    if node.op == "and":
        return {of: value for of, value in left.items() if group(matching, of) in in_right}
    if node.op == "unless":
        return {of: value for of, value in left.items() if group(matching, of) not in in_right}
    return unique([*left.items(), *((of, value) for of, value in right.items() if group(matching, of) not in in_left)])


def vectors(node: Binary, left: Vector, right: Vector) -> Vector:  # noqa: C901  told from top to bottom
    matching = node.matching or Matching()
    fills = matching.fill_left, matching.fill_right
    if not (left or right) or (fills == (None, None) and not (left and right)):
        return {}
    swapped = matching.cardinality == Cardinality.ONE_TO_MANY
    many, one = (right, left) if swapped else (left, right)
    fill_many, fill_one = reversed(fills) if swapped else fills
    partner: dict[Labels, tuple[Labels, float]] = {}
    for of, value in one.items():
        if group(matching, of) in partner:
            raise ConflictError
        partner[group(matching, of)] = of, value
    rows = []
    for of, value in many.items():
        key = group(matching, of)
        if key in partner:
            rows.append((of, value, *partner[key]))
        elif fill_one is not None:
            rows.append((of, value, key, fill_one))
    met = {group(matching, of) for of in many}
    if fill_many is not None:
        rows += [(key, fill_many, of, value) for key, (of, value) in partner.items() if key not in met]
    pairs, seen = [], set()
    for of, value, other, other_value in rows:
        made = result_labels(node, matching, of, other)
        mark = group(matching, of) if matching.cardinality == Cardinality.ONE_TO_ONE else (made, group(matching, of))
        if mark in seen:
            raise ConflictError
        seen.add(mark)
        a, b = (other_value, value) if swapped else (value, other_value)
        if node.op not in COMPARISONS:
            pairs.append((made, arithmetic(node.op, a, b)))
        elif node.bool_ or COMPARISONS[node.op](a, b):
            pairs.append((made, float(COMPARISONS[node.op](a, b)) if node.bool_ else a))
    return unique(pairs)


def result_labels(node: Binary, matching: Matching, of: Labels, other: Labels) -> Labels:
    made = dict(of)
    if node.op not in COMPARISONS or node.bool_:
        made.pop(NAME, None)
    if matching.cardinality == Cardinality.ONE_TO_ONE:
        made = {name: value for name, value in made.items() if (name in matching.labels) == matching.on}
    for name in matching.include:
        made.pop(name, None)
        if name in dict(other):
            made[name] = dict(other)[name]
    return frozenset(made.items())


def aggregation(node: Aggregation, vector: Vector, param: float | None) -> Vector:
    groups: dict[Labels, list[tuple[Labels, float]]] = {}
    for of, value in vector.items():
        dropped = {*node.grouping, NAME}
        key = (item for item in of if (item[0] not in dropped if node.without else item[0] in node.grouping))
        groups.setdefault(frozenset(key), []).append((of, value))
    if node.op in {"topk", "bottomk", "limitk"}:
        sign = -1 if node.op == "topk" else 1
        kept = {}
        for members in groups.values():
            if node.op != "limitk":
                members.sort(
                    key=lambda member: (math.isnan(member[1]), 0 if math.isnan(member[1]) else sign * member[1])
                )
            kept.update(members[: max(int(param or 0), 0)])
        return kept
    return {key: folded(node.op, [value for _, value in members], param) for key, members in groups.items()}


def folded(op: str, values: list[float], param: float | None) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    infinite = {value for value in values if math.isinf(value)}
    match op:
        case "count":
            return len(values)
        case "group":
            return 1
        case "min":
            return min(numbers, default=math.nan)
        case "max":
            return max(numbers, default=math.nan)
        case "quantile":
            return quantile(values, param or 0)
    if len(numbers) < len(values) or len(infinite) > 1:
        return math.nan
    if op in {"sum", "avg"}:
        total = infinite.pop() if infinite else math.fsum(values)
        return total if op == "sum" else total / len(values)
    if infinite:
        return math.nan
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / len(values)
    return variance if op == "stdvar" else math.sqrt(variance)


def quantile(values: list[float], q: float) -> float:
    if q < 0 or q > 1:
        return math.copysign(math.inf, q)
    numbers = sorted(value for value in values if not math.isnan(value))
    ordered = [math.nan] * (len(values) - len(numbers)) + numbers
    rank = q * (len(ordered) - 1)
    lower = math.floor(rank)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] * (1 - (rank - lower)) + ordered[upper] * (rank - lower)
