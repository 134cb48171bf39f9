"""The samples of a batch as `sample_batch` wrote it: three columns of fixed width, found without reading on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

# numbers of the batch's fields: `store.wire_samples`
_METRIC, _ID, _TIME, _VALUE = range(1, 5)
_LENGTH_DELIMITED = 2


def sample_columns(batches: Iterable[bytes]) -> tuple[Ids, Ints, Floats]:
    """Series' ids, times in Unix milliseconds and values of all batches, one after another."""
    columns = [_columns(batch) for batch in batches]
    ids, times, values = zip(*columns, strict=True) if columns else ((), (), ())
    return (
        np.concatenate([np.empty(0, np.uint64), *ids]),
        np.concatenate([np.empty(0, np.int64), *times]),
        np.concatenate([np.empty(0), *values]),
    )


def _columns(batch: bytes) -> tuple[Ids, Ints, Floats]:
    found: dict[int, memoryview] = {}
    position = 0
    while position < len(batch) and _VALUE not in found:
        field, wire_type = batch[position] >> 3, batch[position] & 7
        if field > _VALUE or wire_type != _LENGTH_DELIMITED:
            break
        size, start = _varint(batch, position + 1)
        found[field] = memoryview(batch)[start : start + size]
        position = start + size
    ids, times, values = (found.get(field, memoryview(b"")) for field in (_ID, _TIME, _VALUE))
    return np.frombuffer(ids, np.uint64), np.frombuffer(times, np.int64), np.frombuffer(values, np.float64)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and where it ends."""
    number = shift = 0
    while True:
        byte = data[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004  the bit that says there is more
            return number, position
