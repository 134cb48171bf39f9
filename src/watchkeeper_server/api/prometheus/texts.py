"""Columns of values and times as columns of text, exactly as Prometheus writes them in JSON; Arrow does the work.

A value has the fewest digits that read back as the same number, with an exponent below 1e-6 and from 1e21 on. A time is
in seconds, with three decimals or, at a full second, none.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import repeat

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from watchkeeper_server.promql.values import Bools, Floats, Ints

_FRACTIONS = pa.array(["", *(f".{milliseconds:03}" for milliseconds in range(1, 1000))])
# Arrow writes an exponent from the first on, Prometheus from the second; below the third an integer is exact.
_ARROW_LARGE, _LARGE, _EXACT = 1e10, 1e21, 2.0**53
_SMALL = 1e-6


def value_texts(values: Floats) -> pa.Array:
    """Each value's text, without quotes."""
    texts = pc.cast(pa.array(values), pa.string())
    size = np.abs(values)
    texts = _with(texts, np.isnan(values), "NaN")
    texts = _with(texts, values == np.inf, "+Inf")
    texts = _with(texts, values == -np.inf, "-Inf")
    small = (size < _SMALL) & (size > 0)
    texts = _with(texts, small, pc.replace_substring_regex(texts.filter(small), r"e-(\d)$", r"e-0\1"))
    large = (size >= _ARROW_LARGE) & (size < _LARGE)
    if not large.any():
        return texts
    whole = large & (size < _EXACT) & (np.floor(values) == values)
    texts = _with(texts, whole, pc.cast(pa.array(values[whole].astype(np.int64)), pa.string()))
    broken = large & (size < _EXACT) & ~whole
    texts = _with(texts, broken, _broken(values[broken]))
    huge = large & (size >= _EXACT)
    return _with(texts, huge, _huge(values[huge]))


def time_texts(times: Ints) -> pa.Array:
    """The text of each time, Unix milliseconds."""
    size = np.abs(times)
    seconds = pc.cast(pa.array(size // 1000), pa.string())
    signs = pa.array(["", "-"]).take(pa.array((times < 0).astype(np.int8)))
    return pc.binary_join_element_wise(signs, seconds, _FRACTIONS.take(pa.array(size % 1000)), "")


def _with(texts: pa.Array, mask: Bools, replacement: str | pa.Array) -> pa.Array:
    """The texts with those that the mask marks replaced."""
    return pc.replace_with_mask(texts, pa.array(mask), replacement) if mask.any() else texts


def _broken(values: Floats) -> pa.Array:
    """Of values between integers."""
    written = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return pa.array(written[1:-1].split(",") if len(values) else [], pa.string())


def _huge(values: Floats) -> pa.Array:
    """Of integers that have fewer digits that matter than they have digits."""
    return pa.array(map(format, map(Decimal, map(repr, values.tolist())), repeat(".0f")), pa.string())
