"""A scrape on its way to storing: as a remote-write request, or as columns of series that the receiver knows already.

From one scrape to the next a target has the same series in the same order. Once the receiver has taken them in, their
places among all series are remembered, and a scrape comes to arrays of numbers: no series is encoded, hashed or looked
up again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from watchkeeper_server.receive.exposition.write_request import encode_samples, encode_stale, labels_of
from watchkeeper_server.receive.known_series import Floats, Ints, KnownSeries
from watchkeeper_server.receive.prompb import TimeSeries
from watchkeeper_server.receive.remote_write_v1 import decode_v1
from watchkeeper_server.receive.sample_batch import Sent
from watchkeeper_server.receive.sample_labels import Labels

# What a series costs whose labels have to be looked at, in bytes of a remote-write request, and a sample of others.
_SERIES_BYTES, _SAMPLE_BYTES = 100, 8


class KeptSeries:
    """The series of a target's samples, in their order."""

    def __init__(self, heads: Sequence[bytes]) -> None:
        """The receiver may know them or not."""
        self.heads = heads
        self.stored = False  # a request with all of them has been written
        self.numbers = np.arange(len(heads))
        self._keys: list[int] = []
        self._known: KnownSeries | None = None
        self._slots: Ints | None = None

    def sent(self, known: KnownSeries, values: Floats, time_ms: int) -> Sent | None:
        """One sample of each; None if the receiver does not know all of them."""
        if known is not self._known:
            self._keys = self._keys or [hash(labels_of(head)) for head in self.heads]
            slots = known.find(self._keys, len(self._keys))
            if (slots < 0).any():
                return None
            self._known, self._slots = known, slots
        assert self._slots is not None  # noqa: S101  set with `_known`
        times = np.full(len(values), time_ms)
        return Sent(self._keys, self._slots, self.labels, self.encoded, self.numbers, times, values)

    def labels(self, series: int) -> Labels:
        """The labels of one."""
        return [(label.name, label.value) for label in TimeSeries.FromString(self.encoded(series)).labels]

    def encoded(self, series: int) -> bytes:
        """The same as a remote-write series has them."""
        return labels_of(self.heads[series])


@dataclass(frozen=True, slots=True)
class Scraped:
    """What is to be stored of a scrape.

    Attributes:
        series: those with a sample of the scrape's own time.
        values: their values.
        time_ms: that time, Unix milliseconds.
        others: everything else, as the bytes of a remote-write 1.0 request.
        ended: the series that have ended.
    """

    series: KeptSeries
    values: Floats
    time_ms: int
    others: bytes = b""
    ended: Collection[bytes] = ()

    @property
    def size_bytes(self) -> int:
        """How long `decode` and all that follows take: about as long as a remote-write request of so many bytes."""
        unknown = len(self.ended) + (0 if self.series.stored else len(self.series.heads))
        return _SERIES_BYTES * unknown + _SAMPLE_BYTES * len(self.values) + len(self.others)

    def request(self) -> bytes:
        """All of it as an uncompressed remote-write 1.0 request."""
        return encode_samples(self.series.heads, self.values.tolist(), self.time_ms) + self._rest(self.others)

    def decode(self, others: bytes, known: KnownSeries) -> Sent:
        """What the receiver takes in; in any thread."""
        sent = self.series.sent(known, self.values, self.time_ms) if self.series.stored else None
        if sent is None:  # new, or it has forgotten some
            return decode_v1(self.request(), known)
        rest = self._rest(others)
        return _both(sent, decode_v1(rest, known)) if rest else sent

    def _rest(self, others: bytes) -> bytes:
        return others + encode_stale(list(self.ended), self.time_ms)


def _both(one: Sent, other: Sent) -> Sent:
    """As if all had been sent together."""
    count = len(one.keys)
    return replace(
        one,
        keys=[*one.keys, *other.keys],
        slots=np.concatenate([one.slots, other.slots]),
        labels=lambda series: one.labels(series) if series < count else other.labels(series - count),
        encoded=lambda series: one.encoded(series) if series < count else other.encoded(series - count),
        sample_series=np.concatenate([one.sample_series, other.sample_series + count]),
        times=np.concatenate([one.times, other.times]),
        values=np.concatenate([one.values, other.values]),
        exemplars=[(series + count, labels, value, time) for series, labels, value, time in other.exemplars],
        histograms=[(series + count, histogram) for series, histogram in other.histograms],
        metadata=other.metadata,
    )
