"""A sample at a known place among bytes, as protobuf encodes it, read by numpy for many series at once.

Tag and length, tag and value unless that is 0, tag and time: `12 10 09 <8 bytes> 10 <6 bytes>` or `12 07 10 <6 bytes>`.
A time in milliseconds takes six bytes of seven bits each from 1971 until 2109.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from watchkeeper_server.receive.known_series import Bools, Floats, Ids, Ints

SAMPLE_TAG, VALUE_TAG = 0x12, 0x09
# How long a sample is, with its tag and length
VALUED_BYTES, ZERO_BYTES = 18, 9
_WORD = 8
# Tag, length and, of the first, the value's tag; the lowest byte comes first
_VALUED_START, _VALUED_MASK = np.uint64(0x091012), np.uint64(0xFFFFFF)
_ZERO_START, _ZERO_MASK = np.uint64(0x0712), np.uint64(0xFFFF)
# A byte of anything, the time's tag, five bytes after which more follows, one after which nothing does.
_TIME, _TIME_MASK = np.uint64(0x00_80_80_80_80_80_10_00), np.uint64(0x80_80_80_80_80_80_FF_00)
_SEVEN_BITS = np.uint64(0x7F)


class Bytes:
    """Bytes of which any eight that follow each other can be read as one number."""

    def __init__(self, data: bytes) -> None:
        """At least eight."""
        self.each = np.frombuffer(data, np.uint8)
        self._words = np.ndarray((len(data) - _WORD + 1,), "<u8", data, 0, (1,))
        self._floats = np.ndarray((len(data) - _WORD + 1,), "<f8", data, 0, (1,))

    def samples_before(self, ends: Ints) -> tuple[Ints, Ints, Floats]:
        """The samples that end at these places: how long each is, 0 where there is none, its time and value."""
        valued = self._words[ends - VALUED_BYTES] & _VALUED_MASK == _VALUED_START
        zero = self._words[ends - ZERO_BYTES] & _ZERO_MASK == _ZERO_START
        timed, times = self.times_before(ends)
        lengths = np.where(timed & valued, VALUED_BYTES, np.where(timed & zero, ZERO_BYTES, 0))
        return lengths, times, np.where(valued, self.values_at(ends - VALUED_BYTES + 3), 0.0)

    def times_before(self, ends: Ints) -> tuple[Bools, Ints]:
        """Whether a time with its tag ends at these places, and which."""
        words = self._words[ends - _WORD]
        return words & _TIME_MASK == _TIME, _time(words)

    def values_at(self, starts: Ints) -> Floats:
        """The numbers that begin at these places."""
        return np.asarray(self._floats[starts])


def _time(words: Ids) -> Ints:
    time: Any = words >> np.uint64(16) & _SEVEN_BITS
    for byte in range(1, 6):
        time |= (words >> np.uint64(16 + 8 * byte) & _SEVEN_BITS) << np.uint64(7 * byte)
    return np.asarray(time.view(np.int64))
