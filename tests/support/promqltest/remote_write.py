"""Prometheus' remote write, version 1: series as the body of a request.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ and prompb/types.proto of Prometheus.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import cramjam

from support.promqltest.histograms import Histogram
from support.promqltest.series import Series

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def body(data: Sequence[Series], shift: int = 0) -> bytes:
    """A request that writes these series, `shift` milliseconds later than they say."""
    request = b"".join(_message(1, _series(series, shift)) for series in data)
    return bytes(cramjam.snappy.compress_raw(request))


def _series(series: Series, shift: int) -> bytes:
    labels = b"".join(
        _message(1, _message(1, name.encode()) + _message(2, value.encode()))
        for name, value in sorted(series.labels.items())
    )
    return labels + b"".join(
        _message(4, _histogram(value) + _integer(15, time + shift))
        if isinstance(value, Histogram)
        else _message(2, _double(1, value) + _integer(2, time + shift))
        for time, value in series.samples
    )


def _histogram(of: Histogram) -> bytes:
    return b"".join((
        _double(2, of.count),
        _double(3, of.sum),
        _integer(4, _zigzag(of.schema)),
        _double(5, of.zero_threshold),
        _double(7, of.zero_count),
        *(_message(8, span) for span in _spans(of.negative)),
        _message(10, _doubles(count for _, count in sorted(of.negative.items()))),
        *(_message(11, span) for span in _spans(of.positive)),
        _message(13, _doubles(count for _, count in sorted(of.positive.items()))),
        _integer(14, of.hint or 0),
        _message(16, _doubles(of.custom_values)),
    ))  # fmt: skip


def _spans(buckets: dict[int, float]) -> Iterable[bytes]:
    """One span a bucket: its distance from the bucket before, and its length."""
    following = 0
    for index in sorted(buckets):
        yield _integer(1, _zigzag(index - following)) + _integer(2, 1)
        following = index + 1


def _zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _integer(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _double(field: int, number: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", number)


def _doubles(numbers: Iterable[float]) -> bytes:
    return b"".join(struct.pack("<d", number) for number in numbers)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content
