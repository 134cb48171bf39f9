"""Columns of values and times as columns of text, exactly as Prometheus writes them in JSON.

A value has the fewest digits that read back as the same number, with an exponent below 1e-6 and from 1e21 on. A time is
in seconds, with three decimals or, at a full second, none.

orjson writes a whole column of numbers at once, three times as fast as Arrow, and most of them as Prometheus would. No
text is copied out of that: it is pointed at, until texts are joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import repeat

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from watchkeeper_server.promql.values import Bools, Floats, Ints

# From the first to the second orjson writes no exponent, from the third to the fourth Prometheus writes none.
_ORJSON_SMALL, _ORJSON_LARGE = 1e-5, 1e16
_SMALL, _LARGE = 1e-6, 1e21
_SHORT_EXPONENT = 1e-9
# So many times are written one by one before a column is begun.
_FEW = 50


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts: the i-th is `pieces[places[i]]`. Pieces are large_string; not all need be of use."""

    pieces: pa.Array
    places: Ints


def joined(columns: Sequence[Texts]) -> pa.Array:
    """The texts of each row, one after the other; large_string, without gaps between rows."""
    order = np.empty((len(columns[0].places), len(columns)), np.int64)
    before = 0
    for column, texts in zip(order.T, columns, strict=True):
        np.add(texts.places, before, out=column)
        before += len(texts.pieces)
    pieces = pa.concat_arrays([texts.pieces for texts in columns]).take(pa.array(order.reshape(-1)))
    _, bounds, data = pieces.buffers()
    bounds = pa.py_buffer(np.frombuffer(bounds, np.int64)[:: len(columns)].copy())
    return pa.Array.from_buffers(pa.large_string(), len(order), [None, bounds, data])


def value_texts(values: Floats) -> Texts:
    """Each value's text, without quotes."""
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        whole = (np.floor(values) == values) & (size < _ORJSON_LARGE)
    usual = whole | ((size >= _ORJSON_SMALL) & (size < _ORJSON_LARGE))
    if whole.all() and not np.signbit(values[values == 0]).any():
        # integers are written seven times as fast
        pieces = _pieces(values.astype(np.int64))
    else:
        # what is whole ends in ".0"
        pieces = _pieces(values, 2 * whole)
    places = np.arange(0, 2 * len(values), 2)
    if not usual.all():
        others = _other_texts(values[~usual])
        places[~usual] = len(pieces) + np.arange(len(others))
        pieces = pa.concat_arrays([pieces, others])
    return Texts(pieces, places)


def time_texts(times: Ints, before: str = "", after: str = "") -> list[Texts]:
    """The text of each time, Unix milliseconds, between two others; in columns to be joined."""
    if len(times) <= _FEW:
        texts = [f"{before}{_time_text(time)}{after}" for time in times.tolist()]
        return [Texts(pa.array(texts, pa.large_string()), np.arange(len(times)))]
    seconds, milliseconds = np.divmod(np.abs(times), 1000)
    return [
        Texts(pa.array([before, f"{before}-"], pa.large_string()), (times < 0).astype(np.int64)),
        Texts(_pieces(seconds), np.arange(0, 2 * len(times), 2)),
        Texts(_fractions(after), milliseconds),
    ]


def _time_text(time: int) -> str:
    seconds, milliseconds = divmod(abs(time), 1000)
    return f"{'-' if time < 0 else ''}{seconds}{f'.{milliseconds:03}' if milliseconds else ''}"


@cache
def _fractions(after: str) -> pa.Array:
    """What follows the seconds, by milliseconds."""
    return pa.array([after, *(f".{milliseconds:03}{after}" for milliseconds in range(1, 1000))], pa.large_string())


def _pieces(numbers: Floats | Ints, cut: Ints | int = 0) -> pa.Array:
    """What orjson writes: each number but for its last `cut` characters, and after each what comes before the next."""
    written = orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)
    commas = np.flatnonzero(np.frombuffer(written, np.uint8) == ord(","))
    ends = np.append(commas, len(written) - 1)[: len(numbers)]
    offsets = np.ones(2 * len(numbers) + 1, np.int64)
    np.subtract(ends, cut, out=offsets[1::2])
    np.add(ends, 1, out=offsets[2::2])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(written)]
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)


def _other_texts(values: Floats) -> pa.Array:
    """Each text of values that orjson writes in another way, or not at all."""
    size = np.abs(values)
    texts = pc.cast(pa.array(values), pa.string())
    texts = _with(texts, np.isnan(values), "NaN")
    texts = _with(texts, values == np.inf, "+Inf")
    texts = _with(texts, values == -np.inf, "-Inf")
    # an exponent of one digit: Prometheus writes two
    short = (size >= _SHORT_EXPONENT) & (size < _SMALL)
    texts = _with(texts, short, pc.binary_replace_slice(texts.filter(short), -1, -1, "0"))
    large = (size >= _ORJSON_LARGE) & (size < _LARGE)
    return _with(texts, large, _large_texts(values[large])).cast(pa.large_string())


def _with(texts: pa.Array, mask: Bools, replacement: str | pa.Array) -> pa.Array:
    """The texts with those that the mask marks replaced."""
    return pc.replace_with_mask(texts, pa.array(mask), replacement) if mask.any() else texts


def _large_texts(values: Floats) -> pa.Array:
    """Of integers that have fewer digits that matter than they have digits; few will ever see them."""
    return pa.array(map(format, map(Decimal, map(repr, values.tolist())), repeat(".0f")), pa.string())
