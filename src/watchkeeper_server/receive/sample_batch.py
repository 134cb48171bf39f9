"""A request's samples as columns: judged, given their series' ids, and encoded for the journal.

Whatever protocol brought them, `Sent` is what was sent, and `SampleCheck` makes of it a batch that the store reads
without seeing a label of a series that it knows. The happy path never loops over samples or series in Python.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from watchkeeper_server.model.series import METRIC_NAME, series_id
from watchkeeper_server.receive.exposition.write_request import METRIC_TYPES
from watchkeeper_server.receive.exposition.write_request import field as delimited
from watchkeeper_server.receive.known_series import Floats, Ints, KnownSeries
from watchkeeper_server.receive.native_histograms import HistogramError, histogram_fields
from watchkeeper_server.receive.prompb import SampleBatch
from watchkeeper_server.receive.refusal import Reason, RefusedError
from watchkeeper_server.receive.sample_labels import (
    Labels,
    characters,
    labels_fault,
    length_fault,
    series_text,
    shortened,
)

# The store knows from when to when there is a series in steps of this: schema 0004.
_STEP_MS = 600_000
_NAMED_FAULTS = 5
# The most that are remembered, and how many of them are kept when they become more.
_SERIES_KNOWN, _SERIES_KEPT, _METRICS_KNOWN = 2_000_000, 1_500_000, 100_000
# All names of remembered series together; shared ones count for each, so that this is never less than what they take.
_NAME_BYTES_KNOWN = 256 * 1024 * 1024
# What a request may hold of series, samples, histograms, exemplars, their labels and metadata together. A series that
# is decoded into a message, because of its shape, takes a kilobyte, as much memory as so many others.
MOST_ITEMS, ITEMS_A_MESSAGE = 2_000_000, 10
# A series with more labels than are stored is named and left out, but one with ever so many is not even looked at.
_MOST_LABELS_READ = 100_000
# What is sent once and stored with each of many items. Metrics' names with their samples:
_NAMES_BYTES = 256 * 1024 * 1024
# the same with exemplars and histograms, exemplars' labels and metadata:
_WRITTEN_CHARACTERS = 128 * 1024 * 1024
# Dense, a few histograms with wide gaps could take all memory.
_BUCKETS_A_REQUEST = 4_000_000
# numbers of the batch's fields: `store.wire_samples`
_METRIC, _ID, _TIME, _VALUE, _SERIES = range(1, 6)
_SERIES_METRIC_TAG = b"\x12"
_SERIES_REST = struct.Struct("<BQBqBq")
_SERIES_ID_TAG, _SERIES_FIRST_TAG, _SERIES_LAST_TAG = (number << 3 | 1 for number in (3, 4, 5))
_SHORT_NAME = 200
_TRACE_ID, _SPAN_ID = re.compile("[0-9a-fA-F]{32}"), re.compile("[0-9a-fA-F]{16}")


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """Which times are taken, Unix milliseconds, both inclusive."""

    oldest: int
    newest: int


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a metric family says of itself; `type` is one of `METRIC_TYPES`."""

    family: str
    type: str
    unit: str
    help: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request holds. Its series are numbered from 0, and all else says by that number whose it is.

    Attributes:
        keys: for each series a hash of whatever it was sent as.
        slots: its place among the known series, -1 for none.
        labels: a series' labels; asked for only where it is not known, or is to be named.
        encoded: the same as remote write 1.0's `repeated Label labels = 1`; asked for only to announce it.
        sample_series: whose each sample is; its time, Unix milliseconds, and value are in `times` and `values`.
        exemplars: whose, labels, value, time.
        histograms: whose, and remote write's message.
        metadata: of any metrics.
    """

    keys: Sequence[int]
    slots: Ints
    labels: Callable[[int], Labels]
    encoded: Callable[[int], bytes]
    sample_series: Ints
    times: Ints
    values: Floats
    exemplars: Sequence[tuple[int, Labels, float, int]] = ()
    histograms: Sequence[tuple[int, Any]] = ()
    metadata: Sequence[Metadata] = ()


@dataclass(frozen=True, slots=True)
class CheckedSamples:
    """What is stored of a request, by count, and what to say about the rest, '' if nothing is left out.

    `new_series` is how many of its series were not known before.
    `remember` is to be called once the payload is durable: from then on its series need not be announced again.
    """

    payload: bytes
    samples: int
    histograms: int
    exemplars: int
    rejected: int
    message: str
    new_series: int
    remember: Callable[[], None]


class SampleCheck:
    """Checks requests, and remembers series and metadata from one to the next; any thread may use it."""

    def __init__(self, most_labels: int) -> None:
        """`most_labels` is how many a series may have."""
        self._most_labels = most_labels
        self._known = KnownSeries()
        # hashes: what metrics say of themselves may be long
        self._metadata: dict[int, int] = {}

    def check(self, decode: Callable[[KnownSeries], Sent], bounds: TimeBounds) -> CheckedSamples:
        """What to store of a request, which `decode` takes apart.

        Raises:
            RefusedError: from `decode`, if it is no request at all; or it would grow beyond measure.
        """
        if len(self._known) > _SERIES_KNOWN or self._known.name_bytes > _NAME_BYTES_KNOWN:
            self._known = self._known.reduced(min(_SERIES_KEPT, len(self._known) // 4 * 3))
        known = self._known
        sent = decode(known)
        batch = _Batch(known, sent, bounds, self._most_labels)
        samples = batch.samples()
        batch.add_histograms()
        batch.add_exemplars()
        news = [metadata for metadata in sent.metadata if self._metadata.get(hash(metadata.family)) != hash(metadata)]
        batch.add_metadata(news)
        announcements, remember = batch.announcements()

        def remember_all() -> None:
            remember()
            if len(self._metadata) > _METRICS_KNOWN:
                self._metadata.clear()
            self._metadata.update((hash(metadata.family), hash(metadata)) for metadata in news)

        return CheckedSamples(
            payload=b"".join([samples, announcements, batch.rows.SerializeToString()]),
            samples=batch.sample_count,
            histograms=len(batch.rows.histograms),
            exemplars=len(batch.rows.exemplars),
            rejected=batch.rejected,
            message=batch.message(),
            new_series=batch.new_series,
            remember=remember_all,
        )

    def forget(self) -> None:
        """Announce every series anew, because they were deleted from the store."""
        self._known = KnownSeries()


@dataclass(slots=True)
class _Batch:
    """One request on its way to the journal."""

    known: KnownSeries
    sent: Sent
    bounds: TimeBounds
    most_labels: int
    rows: Any = field(default_factory=SampleBatch)
    sample_count: int = 0
    # each series' slot, -1 where its labels are at fault
    slots: Ints = field(init=False)
    new_series: int = 0
    _faults: int = 0
    _words: list[str] = field(default_factory=list)
    # series and times of all that is taken
    _seen: list[tuple[Any, Any]] = field(default_factory=list)
    # names by slot, of series with exemplars or histograms
    _metrics: dict[int, str] = field(default_factory=dict)
    _buckets_left: int = _BUCKETS_A_REQUEST
    _characters_left: int = _WRITTEN_CHARACTERS

    def __post_init__(self) -> None:
        self.slots = self.sent.slots
        unknown = np.flatnonzero(self.slots < 0)
        if len(unknown):
            self.slots = self.slots.copy()
            added = [self._add(i) for i in unknown.tolist()]
            self.slots[unknown] = added
            self.new_series = len(set(added) - {-1})

    @property
    def rejected(self) -> int:
        """How many items are left out."""
        taken = self.sample_count + len(self.rows.histograms) + len(self.rows.exemplars)
        return len(self.sent.times) + len(self.sent.histograms) + len(self.sent.exemplars) - taken

    def message(self) -> str:
        """What is left out and why."""
        if not self._faults:
            return ""
        more = f"; and {self._faults - len(self._words)} more" if self._faults > len(self._words) else ""
        return f"{self.rejected} left out, the rest is stored: {'; '.join(self._words)}{more}"

    def samples(self) -> bytes:
        """The columns."""
        sent, bounds = self.sent, self.bounds
        series, times, values = sent.sample_series, sent.times, sent.values
        slots = self.slots[series]
        ill_timed = (times < bounds.oldest) | (times > bounds.newest)
        if ill_timed.any() or (len(slots) and slots.min() < 0):
            places = np.flatnonzero(ill_timed & (slots >= 0))
            for place in places[:_NAMED_FAULTS].tolist():
                self._fault(int(series[place]), self._time_fault(int(times[place])) or "")
            self._faults += max(0, len(places) - _NAMED_FAULTS)
            taken = ~ill_timed & (slots >= 0)
            series, times, values, slots = series[taken], times[taken], values[taken], slots[taken]
        self.sample_count = len(slots)
        self._seen.append((series, times))
        if not len(slots):
            return b""
        if len(slots) * self.known.longest_name > _NAMES_BYTES and self.known.names_bytes(slots) > _NAMES_BYTES:
            raise _too_much()
        # what has a fixed width comes first, where `sample_columns` finds it without reading on
        return b"".join(
            [
                delimited(_ID, self.known.ids(slots).tobytes()),
                delimited(_TIME, times.tobytes()),
                delimited(_VALUE, values.tobytes()),
                self.known.names(slots),
            ]
        )

    def add_histograms(self) -> None:
        """Those that are what they say."""
        for series, histogram in self.sent.histograms:
            slot = int(self.slots[series])
            if slot < 0:
                continue
            try:
                fields = histogram_fields(histogram, self._buckets_left)
            except HistogramError as error:
                self._fault(series, f"a histogram is not valid: {error}")
                continue
            if fault := self._time_fault(histogram.timestamp):
                self._fault(series, fault)
                continue
            self._buckets_left -= len(fields["positive_counts"]) + len(fields["negative_counts"])
            self.rows.histograms.add(**self._whose(series, slot, histogram.timestamp), **fields)

    def add_exemplars(self) -> None:
        """Those that are in time."""
        for series, labels, value, time in self.sent.exemplars:
            slot = int(self.slots[series])
            if slot < 0:
                continue
            if fault := self._time_fault(time):
                self._fault(series, f"an exemplar: {fault}")
                continue
            if fault := length_fault(labels):
                self._fault(series, f"an exemplar: {fault}")
                continue
            self._write_out(characters(labels))
            given = {name: text for name, text in labels if name and text}
            trace_id = given.pop("trace_id") if _TRACE_ID.fullmatch(given.get("trace_id", "")) else ""
            span_id = given.pop("span_id") if _SPAN_ID.fullmatch(given.get("span_id", "")) else ""
            row = self.rows.exemplars.add(**self._whose(series, slot, time), value=value)
            row.trace_id, row.span_id = bytes.fromhex(trace_id), bytes.fromhex(span_id)
            for name, text in sorted(given.items()):
                row.labels.add(name=name, value=text)

    def add_metadata(self, news: Sequence[Metadata]) -> None:
        """What the store does not have yet."""
        for metadata in news:
            self._write_out(len(metadata.family) + len(metadata.unit) + len(metadata.help))
            self.rows.metadata.add(metric=metadata.family, type=metadata.type, unit=metadata.unit, help=metadata.help)

    def announcements(self) -> tuple[bytes, Callable[[], None]]:
        """The series that the store does not know of at these times, and what to do once it does.

        An announcement covers all from the series' first to its last time known here, without gaps.
        """
        series = np.concatenate([series for series, _ in self._seen])
        times = np.concatenate([times for _, times in self._seen])
        first, last = self.known.announced(self.slots[series])
        news = (times < first) | (times >= last)
        if not news.any():
            return b"", lambda: None
        limits = np.iinfo(np.int64)
        oldest, newest = np.full(len(self.slots), limits.max), np.full(len(self.slots), limits.min)
        np.minimum.at(oldest, series[news], times[news])
        np.maximum.at(newest, series[news], times[news])
        which = np.flatnonzero(oldest <= newest)
        slots = self.slots[which]
        first, last = self.known.announced(slots)
        first = np.minimum(first, oldest[which] // _STEP_MS * _STEP_MS)
        last = np.maximum(last, newest[which] // _STEP_MS * _STEP_MS + _STEP_MS)
        rows = map(
            self._announcement,
            which.tolist(),
            slots.tolist(),
            self.known.ids(slots).tolist(),
            (first // 1000).tolist(),
            (last // 1000).tolist(),
        )
        return b"".join(rows), lambda: self.known.announce(slots, first, last)

    def _announcement(self, series: int, slot: int, id: int, first: int, last: int) -> bytes:  # noqa: A002  its own word
        rest = _SERIES_REST.pack(_SERIES_ID_TAG, id, _SERIES_FIRST_TAG, first, _SERIES_LAST_TAG, last)
        return delimited(
            _SERIES, b"".join([self.sent.encoded(series), _SERIES_METRIC_TAG, self.known.name(slot)[1:], rest])
        )

    def _add(self, series: int) -> int:
        """Get to know a series; -1 if its labels are at fault."""
        labels = self.sent.labels(series)
        if fault := labels_fault(labels, self.most_labels):
            self._fault(series, fault)
            return -1
        name = _encoded_name(dict(labels)[METRIC_NAME])
        return self.known.add(self.sent.keys[series], series_id(labels), name)

    def _whose(self, series: int, slot: int, time: int) -> dict[str, Any]:
        """What a row of its own says of its series, and that the series is seen then."""
        self._write_out(len(self.known.name(slot)))
        self._seen.append((np.array([series]), np.array([time])))
        (series_id_,) = self.known.ids(np.array([slot])).tolist()
        metric = self._metrics.get(slot)
        if metric is None:  # once a series: its labels may be many, and so may be its exemplars
            metric = self._metrics[slot] = dict(self.sent.labels(series))[METRIC_NAME]
        return {"metric": metric, "id": series_id_, "time": time}

    def _write_out(self, size: int) -> None:
        self._characters_left -= size
        if self._characters_left < 0:
            raise _too_much()

    def _time_fault(self, time: int) -> str | None:
        if time > self.bounds.newest:
            return f"timestamp {time} is in the future: check the sender's clock, and that it sends milliseconds"
        if time < self.bounds.oldest:
            return f"timestamp {time} is older than what is retained (see --retention)"
        return None

    def _fault(self, series: int, reason: str) -> None:
        self._faults += 1
        if len(self._words) < _NAMED_FAULTS:
            text = series_text(self.sent.labels(series))
            self._words.append(f"{shortened(text)}: {reason}")


def require_few(items: int) -> None:
    """A request may hold so many series and samples of whatever kind.

    Raises:
        RefusedError: it may not.
    """
    if items > MOST_ITEMS:
        raise RefusedError(
            Reason.TOO_LARGE, "the request holds more series and samples than can be taken at once; send fewer in each"
        )


def require_few_labels(labels: int) -> None:
    """A series may be sent with so many, whether they can be stored or not.

    Raises:
        RefusedError: it may not.
    """
    if labels > _MOST_LABELS_READ:
        raise RefusedError(Reason.TOO_LARGE, f"a series of the request has {labels:,} labels, too many to look at")


def _too_much() -> RefusedError:
    return RefusedError(
        Reason.TOO_LARGE,
        "names and texts of the request, written out for each sample, histogram or exemplar that they belong to, are "
        "more than can be taken at once; send fewer in each, or shorter ones",
    )


def metric_type(number: int) -> str:
    """The type that remote write, of either version, has a number for."""
    return METRIC_TYPES[number] if 0 <= number < len(METRIC_TYPES) else METRIC_TYPES[0]


def _encoded_name(metric: str) -> bytes:
    return _encode_short(metric) if len(metric) <= _SHORT_NAME else _encode(metric)


def _encode(metric: str) -> bytes:
    return delimited(_METRIC, metric.encode())


_encode_short = lru_cache(maxsize=10_000)(_encode)  # so that series of a metric share it
