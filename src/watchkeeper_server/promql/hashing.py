"""The hash of a set of labels that Prometheus has, so that `limit_ratio` chooses the same series.

Source: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md (XXH64) over length-prefixed names and values.
"""

from __future__ import annotations

import struct
from functools import reduce

from watchkeeper_server.promql.values import Labels

_1, _2, _3, _4, _5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
_MASK = 2**64 - 1
_STRIPE = 32
_LONG = 255


def hash_of(labels: Labels) -> int:
    """64 bits that are always the same for the same labels."""
    parts = [text.encode(errors="replace") for name in sorted(labels) for text in (name, labels[name])]
    return xxh64(b"".join([_length(len(part)) + part for part in parts]))


def _length(size: int) -> bytes:
    return bytes([size]) if size < _LONG else b"\xff" + size.to_bytes(3, "little")


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0."""
    whole = len(data) // _STRIPE * _STRIPE
    if whole:
        lanes = [_1 + _2 & _MASK, _2, 0, -_1 & _MASK]
        for stripe in struct.iter_unpack("<4Q", data[:whole]):
            lanes = [_round(lane, word) for lane, word in zip(lanes, stripe, strict=True)]
        start = sum(_rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        value = reduce(lambda value, lane: ((value ^ _round(0, lane)) * _1 + _4) & _MASK, lanes, start)
    else:
        value = _5
    value = value + len(data) & _MASK
    words = len(data) // 8 * 8
    for (word,) in struct.iter_unpack("<Q", data[whole:words]):
        value = _rotated(value ^ _round(0, word), 27) * _1 + _4 & _MASK
    rest = data[words:]
    if len(rest) >= 4:  # noqa: PLR2004  half a word
        value = _rotated(value ^ int.from_bytes(rest[:4], "little") * _1 & _MASK, 23) * _2 + _3 & _MASK
        rest = rest[4:]
    for byte in rest:
        value = _rotated(value ^ byte * _5 & _MASK, 11) * _1 & _MASK
    value = (value ^ value >> 33) * _2 & _MASK
    value = (value ^ value >> 29) * _3 & _MASK
    return value ^ value >> 32


def _round(lane: int, word: int) -> int:
    return _rotated(lane + word * _2 & _MASK, 31) * _1 & _MASK


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> 64 - by) & _MASK
