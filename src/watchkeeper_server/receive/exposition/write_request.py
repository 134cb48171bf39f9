"""Prometheus' remote-write 1.0 `WriteRequest`, written by hand.

Encoding a million samples through message objects costs seconds; here a sample is one concatenation of bytes. A
series' *head* holds everything of its `TimeSeries` message up to the value of its one sample, so that a request is
head, value, time, head, value, time …

Field numbers: https://github.com/prometheus/prometheus/blob/main/prompb/types.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat, starmap
from operator import add

# Milliseconds since 1970 take six bytes as a varint from 1971 until 2109; a head counts on that.
_TIME_BYTES = 6
_SAMPLE_BYTES = 1 + 8 + 1 + _TIME_BYTES
_SAMPLE_START = b"\x12" + bytes([_SAMPLE_BYTES]) + b"\x09"
_SAMPLE_ROOM = len(_SAMPLE_START) + 8 + 1 + _TIME_BYTES
# Longer labels are not remembered: who sends them might send many.
_SHORT = 256
_double = struct.Struct("<d").pack
# The NaN by which Prometheus says that a series has ended
_STALE = bytes.fromhex("02 00 00 00 00 00 f0 7f")

METRIC_TYPES = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")


def varint(number: int) -> bytes:
    """Protobuf's variable-length integer; negative ones as 64-bit two's complement."""
    if 0 <= number < 0x80:  # noqa: PLR2004  seven bits
        return bytes([number])
    number &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004  seven bits
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def double_field(number: int, value: float) -> bytes:
    """A 64-bit floating-point field."""
    return varint(number << 3 | 1) + _double(value)


def varint_field(number: int, value: int) -> bytes:
    """A variable-length integer field."""
    return varint(number << 3) + varint(value)


def encode_labels(labels: Iterable[tuple[str, str]]) -> bytes:
    """Label fields, in the order of their names' bytes, as receivers expect."""
    return b"".join([content for _, content in sorted(starmap(_label, labels))])


def series_head(labels: Iterable[tuple[str, str]]) -> bytes:
    """Everything of a series with one sample that comes before the sample's value."""
    encoded = encode_labels(labels)
    return b"\x0a" + varint(len(encoded) + _SAMPLE_ROOM) + encoded + _SAMPLE_START


def labels_of(head: bytes) -> bytes:
    """The label fields that a head was made of."""
    start = 2
    while head[start - 1] & 0x80:
        start += 1
    return head[start : -len(_SAMPLE_START)]


def encode_samples(heads: Sequence[bytes], values: Iterable[float], time_ms: int) -> bytes:
    """One sample of each series, all of the same time."""
    return _encode(heads, map(_double, values), time_ms)


def encode_stale(heads: Sequence[bytes], time_ms: int) -> bytes:
    """The end of each series."""
    return _encode(heads, repeat(_STALE), time_ms)


def encode_sample(head: bytes, value: float, time_ms: int) -> bytes:
    """One sample of one series at a time of its own."""
    return _encode([head], [_double(value)], time_ms)


def encode_series(head: bytes, fields: bytes) -> bytes:
    """A series with other fields than one sample: exemplars, histograms."""
    return field(1, labels_of(head) + fields)


def encode_exemplar(labels: Iterable[tuple[str, str]], value: float, time_ms: int) -> bytes:
    """The field of a series that holds an exemplar."""
    return field(3, encode_labels(labels) + double_field(2, value) + varint_field(3, time_ms))


def encode_metadata(family: str, metric_type: str, text: str, unit: str) -> bytes:
    """What is known of a metric family; the type one of `METRIC_TYPES`."""
    content = varint_field(1, METRIC_TYPES.index(metric_type)) + field(2, family.encode())
    return field(3, content + field(4, text.encode()) + field(5, unit.encode()))


def _label(name: str, value: str) -> tuple[bytes, bytes]:
    """A label's name, to sort by, and its field."""
    return (_remembered_label if len(name) + len(value) <= _SHORT else _encoded_label)(name, value)


def _encoded_label(name: str, value: str) -> tuple[bytes, bytes]:
    encoded = name.encode()
    return encoded, field(1, field(1, encoded) + field(2, value.encode()))


_remembered_label = lru_cache(maxsize=1 << 14)(_encoded_label)  # most labels of a target's series repeat; 16 MB at most


def _encode(heads: Sequence[bytes], values: Iterable[bytes], time_ms: int) -> bytes:
    time = b"\x10" + varint(time_ms)
    if len(time) == 1 + _TIME_BYTES:
        # the time stands between each value and the next head
        return time.join([*map(add, heads, values), b""])
    samples = (field(2, b"\x09" + value + time) for value in values)
    return b"".join([encode_series(head, sample) for head, sample in zip(heads, samples, strict=False)])
