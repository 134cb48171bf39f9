"""Sets of labels: comparing, dropping, ordering and writing them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Sequence

import numpy as np

from watchkeeper_server.promql.quoting import quote
from watchkeeper_server.promql.values import METRIC_NAME, Ints, Labels

# What says which metric this is, and goes once the values are another quantity.
METADATA = frozenset({METRIC_NAME, "__type__", "__unit__"})

_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def key(labels: Labels) -> Hashable:
    """Equal for equal labels."""
    return frozenset(labels.items())


def keep(labels: Labels, names: Collection[str]) -> Labels:
    """Only these labels."""
    return {name: labels[name] for name in names if name in labels}


def without(labels: Labels, names: Collection[str]) -> Labels:
    """All but these labels."""
    return {name: value for name, value in labels.items() if name not in names}


def drop_name(labels: Labels) -> Labels:
    """Without what names the metric."""
    return without(labels, METADATA)


def grouper(*, on: bool, names: Sequence[str]) -> Callable[[Labels], Hashable]:
    """What is equal for the labels that agree `on` these names, or but for these and the metric's."""
    if on:
        return lambda labels: tuple([labels.get(name) for name in names])
    left_out = {*names, METRIC_NAME}
    return lambda labels: frozenset([item for item in labels.items() if item[0] not in left_out])


def to_text(labels: Labels) -> str:
    """As Prometheus writes them in its messages: `{__name__="up", job="api"}`, by name."""
    return "{" + ", ".join(f"{_name(name)}={quote(labels[name])}" for name in sorted(labels)) + "}"


def _name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else quote(name)


def order(labels: Sequence[Labels]) -> list[int]:
    """The places of label sets when sorted as Prometheus does: by their names and values in turn."""
    keys = [sorted(each.items()) for each in labels]
    return sorted(range(len(keys)), key=keys.__getitem__)


def numbered(keys: Sequence[Hashable]) -> tuple[Ints, int]:
    """For each key its number, int64; they count from 0 in the order in which keys appear. And how many there are."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(each, len(numbers)) for each in keys], np.int64), len(numbers)
