"""Remote write 2.0: `io.prometheus.write.v2.Request` taken apart.

Labels are numbers that point into the request's table of symbols, other ones in each request. What a series is known by
is therefore computed: each symbol is hashed once, and numpy mixes and sums the hashes of a series' labels.

A series is nearly always its labels, one sample and perhaps metadata. So each `TimeSeries` is left as bytes, and such
ones are read by numpy, all at once; any other is decoded by upb.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from watchkeeper_server.model.series import METRIC_NAME
from watchkeeper_server.receive.exposition.write_request import field as delimited
from watchkeeper_server.receive.known_series import Bools, Floats, Ids, Ints, KnownSeries
from watchkeeper_server.receive.prompb import EnvelopeV2, Label, MetadataV2, TimeSeriesV2
from watchkeeper_server.receive.refusal import Reason, RefusedError
from watchkeeper_server.receive.sample_batch import (
    ITEMS_A_MESSAGE,
    Metadata,
    Sent,
    metric_type,
    require_few,
    require_few_labels,
)
from watchkeeper_server.receive.sample_bytes import SAMPLE_TAG, VALUE_TAG, VALUED_BYTES, ZERO_BYTES, Bytes
from watchkeeper_server.receive.sample_labels import Labels

# The name of a series that is part of a family, without the family's: https://prometheus.io/docs/specs/om/open_metrics_spec/
_PARTS = {
    "histogram": ("_bucket", "_count", "_sum"),
    "gaugehistogram": ("_bucket", "_gcount", "_gsum", "_count", "_sum"),
    "summary": ("_count", "_sum"),
}
# odd, with many bits: a label is not its name and value exchanged
_NAME_FACTOR, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)

# Tags of a series' fields
_LABELS_TAG, _METADATA_TAG = 0x0A, 0x2A
# Numbers of seven bits have one byte; a symbol's has no more than five.
_ONE_BYTE, _SEVEN_BITS, _MOST_BYTES = 0x80, 0x7F, 5
# A symbol is sent once and may be any number of series' label; the store is told each one's.
_LABELS_CHARACTERS = 128 * 1024 * 1024
# Longer labels are not remembered, so that 100,000 of them cannot become gigabytes.
_SHORT = 200
# How far behind a series' start is looked, whatever it is.
_LOOKED_AT = 2 + 0xFF + VALUED_BYTES + 2


@dataclass(frozen=True, slots=True)
class _Series:
    """Some series, in order: their labels' numbers one after another, samples as columns, metadata encoded.

    `sample_series` counts from 0, whichever series these are of a request.
    """

    numbers: Ints
    counts: Ints
    sample_series: Ints
    times: Ints
    values: Floats
    metadata: list[bytes]


def decode_v2(body: bytes, known: KnownSeries) -> Sent:
    """What a request holds.

    Raises:
        RefusedError: it is not a `Request`, or points at symbols that are not there.
    """
    try:
        request = EnvelopeV2.FromString(body)
        require_few(len(request.timeseries))
        entries: list[bytes] = list(request.timeseries)
        plain, read = _read_plain(entries)
        others = _messages([entries[i] for i in np.flatnonzero(~plain).tolist()], len(entries))
    except DecodeError as error:
        raise _malformed(
            f"the body is not an io.prometheus.write.v2.Request in protobuf ({error}); check that it is complete, "
            "compressed as its Content-Encoding says, and that its strings are UTF-8"
        ) from error
    symbols: list[str] = list(request.symbols)
    if body and symbols[:1] != [""]:
        raise _malformed("the first symbol is not empty; is this remote write 2.0, as its Content-Type says?")
    if not others:
        return _sent(symbols, read, (), 0, known)
    more = _decoded(others)
    both = _Series(
        np.concatenate([read.numbers, more.numbers]),
        np.concatenate([read.counts, more.counts]),
        np.concatenate([read.sample_series, more.sample_series + len(read.counts)]),
        np.concatenate([read.times, more.times]),
        np.concatenate([read.values, more.values]),
        read.metadata + more.metadata,
    )
    return _sent(symbols, both, others, len(read.counts), known)


def _messages(entries: Sequence[bytes], items: int) -> list[Any]:
    """Series decoded, as long as the request's items, of which so many are known of, stay within what is allowed."""
    messages = []
    for entry in entries:
        messages.append(message := TimeSeriesV2.FromString(entry))
        require_few_labels(len(message.labels_refs) // 2)
        items += len(message.samples) + len(message.exemplars) + len(message.histograms) + ITEMS_A_MESSAGE
        items += sum(len(exemplar.labels_refs) // 2 for exemplar in message.exemplars)
        require_few(items)
    return messages


def _sent(symbols: list[str], series: _Series, messages: Sequence[Any], first: int, known: KnownSeries) -> Sent:
    """The request; its series from `first` on are those of the messages."""
    numbers, counts = series.numbers, series.counts
    if (counts & 1).any():
        raise _malformed("labels_refs of a series are odd in number; they are pairs of name and value")
    if len(numbers) and numbers.max() >= len(symbols):
        raise _malformed(f"labels_refs point at symbol {numbers.max()}, there are {len(symbols)}")
    if np.fromiter(map(len, symbols), np.int64, len(symbols))[numbers].sum() > _LABELS_CHARACTERS:
        raise RefusedError(
            Reason.TOO_LARGE,
            f"the labels of all series, written out, have more than {_LABELS_CHARACTERS:,} characters, the most "
            "allowed in a request; send fewer series in each",
        )
    ends = np.cumsum(counts)
    names, values = numbers[0::2], numbers[1::2]
    keys = _keys(symbols, names, values, ends // 2)

    def labels(i: int) -> Labels:
        return _pairs(symbols, numbers[ends[i] - counts[i] : ends[i]].tolist())

    return Sent(
        keys=keys.tolist(),
        slots=known.find(keys.tolist(), len(keys)),
        labels=labels,
        encoded=lambda i: b"".join([_encoded_label(name, value) for name, value in labels(i)]),
        sample_series=series.sample_series,
        times=series.times,
        values=series.values,
        exemplars=[
            (i, _exemplar_labels(symbols, exemplar.labels_refs), exemplar.value, exemplar.timestamp)
            for i, message in enumerate(messages, first)
            for exemplar in message.exemplars
        ],
        histograms=[(i, histogram) for i, message in enumerate(messages, first) for histogram in message.histograms],
        metadata=_metadata(symbols, _metrics(symbols, names, values, ends // 2), series.metadata),
    )


def _read_plain(entries: Sequence[bytes]) -> tuple[Bools, _Series]:
    """Which series are labels, one sample and at most metadata, in this order; and those."""
    sizes = np.fromiter(map(len, entries), np.int64, len(entries))
    # room behind, so that there is something to look at after the last
    joined = b"".join([*entries, bytes(_LOOKED_AT)])
    data = Bytes(joined)
    each = data.each
    ends = np.cumsum(sizes)
    starts = ends - sizes
    label_bytes = each[starts + 1].astype(np.int64)
    samples = starts + 2 + label_bytes
    valued = each[samples + 2] == VALUE_TAG
    behind = samples + np.where(valued, VALUED_BYTES, ZERO_BYTES)
    timed, times = data.times_before(behind)
    rest = ends - behind
    plain = (
        (each[starts] == _LABELS_TAG)
        & (label_bytes < _ONE_BYTE)
        & (each[samples - 1] < _ONE_BYTE)  # a number ends there
        & (each[samples] == SAMPLE_TAG)
        & (each[samples + 1] == behind - samples - 2)
        & timed
        & ((rest == 0) | ((each[behind] == _METADATA_TAG) & (each[behind + 1] == rest - 2)))
    )
    samples, starts, behind, ends = samples[plain], starts[plain], behind[plain], ends[plain]
    numbers, counts = _numbers(each, starts + 2, samples)
    return plain, _Series(
        numbers=numbers,
        counts=counts,
        sample_series=np.arange(len(starts)),
        times=times[plain],
        values=np.where(valued[plain], data.values_at(samples + 3), 0.0),
        metadata=list(map(joined.__getitem__, map(slice, (behind + 2).tolist(), ends.tolist()))),
    )


def _numbers(data: Any, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """The variable-length integers in these pieces, all in order, and how many each piece has."""
    sizes = ends - starts
    behind = np.cumsum(sizes)
    piece = data[np.repeat(starts - behind + sizes, sizes) + np.arange(behind[-1] if len(behind) else 0)]
    last = np.flatnonzero(piece < _ONE_BYTE)
    lengths = np.diff(last, prepend=-1)
    longest = int(lengths.max()) if len(lengths) else 0
    if longest > _MOST_BYTES:
        raise _malformed("labels_refs hold a number that is larger than any symbol's")
    first = last - lengths + 1
    numbers = (piece[first] & _SEVEN_BITS).astype(np.int64)
    for i in range(1, longest):
        longer = np.flatnonzero(lengths > i)
        numbers[longer] |= (piece[first[longer] + i] & _SEVEN_BITS).astype(np.int64) << 7 * i
    return numbers, np.diff(np.searchsorted(last, behind), prepend=0)


def _decoded(messages: Sequence[Any]) -> _Series:
    numbers, counts = _flat([message.labels_refs for message in messages])
    samples, sample_counts = _flat([message.samples for message in messages])
    samples = list(samples)
    return _Series(
        numbers=np.fromiter(numbers, np.int64, int(counts.sum())),
        counts=counts,
        sample_series=np.repeat(np.arange(len(messages)), sample_counts),
        times=np.fromiter(map(attrgetter("timestamp"), samples), np.int64, len(samples)),
        values=np.fromiter(map(attrgetter("value"), samples), np.float64, len(samples)),
        metadata=[message.metadata.SerializeToString() for message in messages],
    )


def _malformed(message: str) -> RefusedError:
    return RefusedError(Reason.MALFORMED, message)


def _flat(lists: Sequence[Any]) -> tuple[Iterable[Any], Ints]:
    """The lists one after another, and how long each is."""
    return chain.from_iterable(lists), np.fromiter(map(len, lists), np.int64, len(lists))


def _keys(symbols: Sequence[str], names: Ints, values: Ints, ends: Ints) -> Ids:
    """A hash for each series, whatever the order of its labels; `ends` are where its labels end."""
    hashes = np.fromiter(map(hash, symbols), np.int64, len(symbols)).view(np.uint64)
    mixed = hashes[names] * _NAME_FACTOR + hashes[values]
    mixed = (mixed ^ mixed >> _HALF) * _MIX
    mixed ^= mixed >> _HALF
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
    keys: Ids = np.diff(sums[np.concatenate([np.zeros(1, np.int64), ends])])
    return keys


def _pairs(symbols: Sequence[str], refs: Sequence[int]) -> Labels:
    found = [symbols[ref] for ref in refs]
    return list(zip(found[0::2], found[1::2], strict=True))


def _exemplar_labels(symbols: Sequence[str], refs: Sequence[int]) -> Labels:
    if len(refs) % 2 or max(refs, default=0) >= len(symbols):
        raise _malformed(f"an exemplar's labels_refs {list(refs)} are not pairs that point at {len(symbols)} symbols")
    return _pairs(symbols, refs)


def _metadata(symbols: Sequence[str], metrics: Ints, encoded: Sequence[bytes]) -> list[Metadata]:
    """Each series brings its family's; a request has a few different ones. `metrics` are the series' names."""
    found = {}
    for metric, content in set(zip(metrics.tolist(), encoded, strict=True)):
        if not content or not symbols[metric]:
            continue
        try:
            sent = MetadataV2.FromString(content)
        except DecodeError as error:
            raise _malformed(f"a series' metadata are not protobuf ({error})") from error
        if max(sent.unit_ref, sent.help_ref) >= len(symbols):
            raise _malformed(f"metadata point at symbol {max(sent.unit_ref, sent.help_ref)}, there are {len(symbols)}")
        type_ = metric_type(sent.type)
        family = _family(symbols[metric], type_)
        found[family] = Metadata(family, type_, symbols[sent.unit_ref], symbols[sent.help_ref])
    return list(found.values())


def _metrics(symbols: Sequence[str], names: Ints, values: Ints, ends: Ints) -> Ints:
    """The symbol that is each series' name; 0, which is the empty one, for none."""
    metrics = np.zeros(len(ends), np.int64)
    if METRIC_NAME in symbols:
        places = np.flatnonzero(names == symbols.index(METRIC_NAME))
        metrics[np.searchsorted(ends, places, side="right")] = values[places]
    return metrics


def _family(name: str, type_: str) -> str:
    part = next((part for part in _PARTS.get(type_, ()) if name.endswith(part)), "")
    return name.removesuffix(part) or name


def _encoded_label(name: str, value: str) -> bytes:
    return _encode_short(name, value) if len(name) + len(value) <= _SHORT else _encode(name, value)


def _encode(name: str, value: str) -> bytes:
    return delimited(1, Label(name=name, value=value).SerializeToString())


_encode_short = lru_cache(maxsize=100_000)(_encode)
