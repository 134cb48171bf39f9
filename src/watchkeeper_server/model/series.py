"""What identifies a series: the id of its labels, the same as the store computes (`label_hash` in schema 0004).

A sum over the labels, so that their order does not matter; a label without a value does not count, as everywhere in
Prometheus. 0xFF, which no UTF-8 holds, keeps a name from running into its value.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import md5

METRIC_NAME = "__name__"
_ID_BITS = 0xFFFF_FFFF_FFFF_FFFF
# What is longer is not remembered, so that 100,000 labels cannot become gigabytes.
_SHORT = 200


def series_id(labels: Iterable[tuple[str, str]]) -> int:
    """The id of the series with these labels, `__name__` among them: 64 bits."""
    return sum(_label_hash(name, value) for name, value in labels if value) & _ID_BITS


def _label_hash(name: str, value: str) -> int:
    return _short_hash(name, value) if len(name) + len(value) <= _SHORT else _hash(name, value)


def _hash(name: str, value: str) -> int:
    return int.from_bytes(md5(b"%b\xff%b" % (name.encode(), value.encode()), usedforsecurity=False).digest()[:8])


_short_hash = lru_cache(maxsize=100_000)(_hash)  # most labels are shared by many series
