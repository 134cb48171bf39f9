"""Sets of labels: comparing, dropping, ordering and writing them."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any

import numpy as np

from watchkeeper_server.promql.quoting import quote
from watchkeeper_server.promql.values import METRIC_NAME, Ints, Labels

# What says which metric this is, and goes once the values are another quantity.
METADATA = frozenset({METRIC_NAME, "__type__", "__unit__"})

_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# what stands where there was no UTF-8
_NO_CHARACTER = "\ufffd"


def is_name(name: str) -> bool:
    """Whether a label can have this name."""
    return bool(name) and _NO_CHARACTER not in name


def key(labels: Labels) -> Hashable:
    """Equal for equal labels."""
    return frozenset(labels.items())


def keys(labels: Sequence[Labels]) -> list[Any]:
    """For each set what is equal for equal ones, and sorts as Prometheus does: by their names and values in turn.

    They say nothing next to keys of another call.
    """
    if labels and labels[0] and len({*map(len, labels)}) == 1:
        # nearly always the names are the same, and so the values are all there is to compare
        with suppress(KeyError):
            return [*map(itemgetter(*sorted(labels[0])), labels)]
    return [tuple(sorted(each.items())) for each in labels]


def keep(labels: Labels, names: Collection[str]) -> Labels:
    """Only these labels."""
    return {name: labels[name] for name in names if name in labels}


def without(labels: Labels, names: Collection[str]) -> Labels:
    """All but these labels."""
    left = dict(labels)
    for name in names:
        left.pop(name, None)
    return left


def drop_name(labels: Labels) -> Labels:
    """Without what names the metric."""
    return without(labels, METADATA)


def grouped(labels: Sequence[Labels], names: Sequence[str], *, on: bool) -> tuple[Ints, int]:
    """The groups of those that agree `on` these names, or in all but these and the metric's; as `numbered` does."""
    if not on:
        left_out = {*names, METRIC_NAME}
        names = [*set().union(*labels) - left_out]
        if len(names) * len(labels) > 2 * sum(map(len, labels)):  # hardly any has all these names
            return numbered([frozenset([item for item in each.items() if item[0] not in left_out]) for each in labels])
    if not names:
        return numbered([()] * len(labels))
    with suppress(KeyError):  # nearly always all have all of them
        return numbered([*map(itemgetter(*names), labels)])
    return numbered([*zip(*[[each.get(name) for each in labels] for name in names], strict=True)])


def to_text(labels: Labels) -> str:
    """As Prometheus writes them in its messages: `{__name__="up", job="api"}`, by name."""
    return "{" + ", ".join(f"{_name(name)}={quote(labels[name])}" for name in sorted(labels)) + "}"


def _name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else quote(name)


def order(labels: Sequence[Labels]) -> list[int]:
    """The places of label sets when sorted as Prometheus does."""
    of = keys(labels)
    return sorted(range(len(of)), key=of.__getitem__)


def numbered(keys: Sequence[Hashable]) -> tuple[Ints, int]:
    """For each key its number, int64; they count from 0 in the order in which keys appear. And how many there are."""
    numbers = {each: number for number, each in enumerate(dict.fromkeys(keys))}
    return np.fromiter(map(numbers.__getitem__, keys), np.int64, len(keys)), len(numbers)
