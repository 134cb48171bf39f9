"""Comparing an answer with what was expected of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from support.promqltest.histograms import Histogram
from support.promqltest.script import Case, Message
from support.promqltest.series import Value
from support.promqltest.targets import Answer
from watchkeeper_server.promql.values import METRIC_NAME, STALE_BITS, Labels, Steps

EPSILON = 1e-6
_LEAST_NORMAL = 2.2250738585072014e-308


def problems(case: Case, answer: Answer) -> Iterator[str]:
    """All in which an answer is not as expected, one readable line or more each."""
    expected = case.expected
    yield from _remark_problems("warning", expected.warnings, expected.no_warnings, answer.warnings)
    yield from _remark_problems("info", expected.infos, expected.no_infos, answer.infos)
    steps = expected.window or case.steps
    if expected.text is not None:
        if answer.kind != "string" or answer.text != expected.text:
            yield f"expected the string {expected.text!r}, got {shown(answer)}"
    elif expected.scalar is not None:
        got = list(answer.series[0][1].values()) if answer.kind == "scalar" else []
        if not got or not same(expected.scalar, got[0]):
            yield f"expected the scalar {expected.scalar!r}, got {shown(answer)}"
    elif answer.kind in {"scalar", "string"}:
        yield f"expected series, got {shown(answer)}"
    else:
        yield from _series_problems(expected.values, steps, answer, ordered=expected.ordered)


def _remark_problems(kind: str, wanted: Sequence[Message], unwanted: bool, got: list[str]) -> Iterator[str]:
    listed = "".join(f"\n    {remark}" for remark in got) or " none"
    yield from (
        f"expected a {kind} like: {message.text}\n  got{listed}"
        for message in wanted
        if not any(map(message.fits, got))
    )
    if unwanted and got:
        yield f"expected no {kind}, got{listed}"
    if wanted and any(not any(message.fits(remark) for message in wanted) for remark in got):
        yield f"expected no other {kind} than: {', '.join(message.text for message in wanted)}\n  got{listed}"


def _series_problems(
    expected: Sequence[tuple[Labels, list[Value]]], steps: Steps, answer: Answer, *, ordered: bool
) -> Iterator[str]:
    left = {_key(labels): (labels, samples) for labels, samples in answer.series}
    if len(left) < len(answer.series):
        yield f"got two series of the same labels: {shown(answer)}"
    for labels, values in expected:
        wanted = {steps.start + place * steps.step: value for place, value in enumerate(values) if value is not None}
        if max(wanted, default=steps.start) > steps.end:
            yield f"{len(values)} values are expected of {name_of(labels)}, but there are only {steps.count} steps"
        _, got = left.pop(_key(labels), (labels, {}))
        if wanted.keys() != got.keys() or not all(same(value, got[time]) for time, value in wanted.items()):
            yield f"expected {name_of(labels)}{_listed(wanted, got)}\n  got{_listed(got, wanted)}"
    for labels, got in left.values():
        yield f"expected no {name_of(labels)}, got{_listed(got, {})}"
    if ordered and [_key(labels) for labels, _ in expected] != [_key(labels) for labels, _ in answer.series]:
        yield "expected another order, got " + ", ".join(name_of(labels) for labels, _ in answer.series)


def _key(labels: Labels) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def same(expected: float | Histogram, got: float | Histogram) -> bool:
    """Equal but for rounding, as Prometheus' own tests have it."""
    if isinstance(expected, Histogram) and isinstance(got, Histogram):
        return (
            expected.schema == got.schema
            and expected.zero_threshold == got.zero_threshold
            and expected.custom_values == got.custom_values
            and expected.hint in {None, got.hint}
            and _near(expected.count, got.count)
            and _near(expected.sum, got.sum)
            and _near(expected.zero_count, got.zero_count)
            and _same_buckets(expected.positive, got.positive)
            and _same_buckets(expected.negative, got.negative)
        )
    return not isinstance(expected, Histogram) and not isinstance(got, Histogram) and _near(expected, got)


def _same_buckets(expected: dict[int, float], got: dict[int, float]) -> bool:
    return all(_near(expected.get(index, 0.0), got.get(index, 0.0)) for index in expected.keys() | got.keys())


def _near(expected: float, got: float) -> bool:
    if math.isnan(expected) or math.isnan(got):
        return _stale(expected) == _stale(got) and math.isnan(expected) and math.isnan(got)
    if expected == got:
        return True
    total, difference = abs(expected) + abs(got), abs(expected - got)
    if not expected or not got or total < _LEAST_NORMAL:
        return difference < EPSILON * _LEAST_NORMAL
    return difference / min(total, 1.7976931348623157e308) < EPSILON


def _stale(value: float) -> bool:
    return bool(np.float64(value).view(np.uint64) == STALE_BITS)


def name_of(labels: Labels) -> str:
    """Labels as the language writes them."""
    rest = ", ".join(f"{name}={_quoted(value)}" for name, value in sorted(labels.items()) if name != METRIC_NAME)
    return labels.get(METRIC_NAME, "") + "{" + rest + "}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def shown(answer: Answer) -> str:
    """An answer for a reader's eyes."""
    if answer.kind == "string":
        return f"the string {answer.text!r}"
    if answer.kind == "scalar":
        return f"the scalar {next(iter(answer.series[0][1].values()), None)}"
    if not answer.series:
        return "nothing"
    return f"a {answer.kind}:" + "".join(
        f"\n    {name_of(labels)}{_listed(samples, {})}" for labels, samples in answer.series
    )


def _listed(samples: dict[int, float | Histogram], other: dict[int, float | Histogram]) -> str:
    """Samples with their seconds; where there are many, only those that are not the same in the other."""
    differing = {time: value for time, value in samples.items() if time not in other or not same(value, other[time])}
    listed = samples if len(samples) < 20 else differing
    if not listed:
        return " nothing" if not samples else " (the rest is the same)"
    return "".join(f" {value}@{time / 1000:g}s" for time, value in sorted(listed.items()))
