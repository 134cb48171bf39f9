"""Remote write 1.0: `prometheus.WriteRequest` taken apart.

A series in a request is nearly always its labels followed by one sample. So each `TimeSeries` is left as bytes; what
comes before a sample at its end is what the series is known by, and the samples are read by numpy, all at once. Any
other series (more samples, exemplars, histograms, fields in another order) is decoded by upb.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from watchkeeper_server.receive.known_series import Floats, Ints, KnownSeries
from watchkeeper_server.receive.prompb import Envelope, MetricMetadata, TimeSeries
from watchkeeper_server.receive.refusal import Reason, RefusedError
from watchkeeper_server.receive.sample_batch import (
    ITEMS_A_MESSAGE,
    Metadata,
    Sent,
    metric_type,
    require_few,
    require_few_labels,
)
from watchkeeper_server.receive.sample_bytes import VALUED_BYTES, Bytes
from watchkeeper_server.receive.sample_labels import Labels

_SAMPLE = attrgetter("value", "timestamp")


def decode_v1(body: bytes, known: KnownSeries) -> Sent:
    """What a request holds.

    Raises:
        RefusedError: it is not a `WriteRequest`.
    """
    try:
        request = Envelope.FromString(body)
        require_few(len(request.timeseries) + len(request.metadata))
        entries: list[bytes] = list(request.timeseries)
        if body and not entries and not request.metadata:
            raise RefusedError(
                Reason.MALFORMED,
                "the body holds no series and no metadata of a prometheus.WriteRequest; "
                "if it is remote write 2.0, its Content-Type has to say so",
            )
        return _decoded(entries, map(MetricMetadata.FromString, request.metadata), known)
    except DecodeError as error:
        raise RefusedError(
            Reason.MALFORMED,
            f"the body is not a prometheus.WriteRequest in protobuf ({error}); check that it is complete, compressed "
            "as its Content-Encoding says, and that its strings are UTF-8",
        ) from error


def _decoded(entries: list[bytes], metadata: Iterable[Any], known: KnownSeries) -> Sent:
    count = len(entries)
    lengths, times, values = _last_samples(entries)
    heads = [entry[:length] for entry, length in zip(entries, lengths.tolist(), strict=True)]
    keys = list(map(hash, heads))
    slots = known.find(keys, count)
    plain = lengths > 0
    messages = {}
    items = count
    for i in np.flatnonzero(~plain | (slots < 0)).tolist():
        message = TimeSeries.FromString(entries[i])
        require_few_labels(len(message.labels))
        labels = _labels_alone(message)
        if plain[i] and labels == heads[i]:  # not seen before, but as it should be
            continue
        plain[i], heads[i], keys[i] = False, labels, hash(labels)
        if held := len(message.samples) + len(message.exemplars) + len(message.histograms):
            messages[i] = message
            items += held + sum(len(exemplar.labels) for exemplar in message.exemplars) + ITEMS_A_MESSAGE
            require_few(items)
    if plain.all():
        return _sent(keys, slots, heads, np.arange(count), times, values, metadata=metadata)
    slots = known.find(keys, count)
    decoded = list(messages.values())
    samples = list(map(_SAMPLE, chain.from_iterable(map(attrgetter("samples"), decoded))))
    whose = np.repeat(
        np.fromiter(messages, np.int64), np.fromiter((len(message.samples) for message in decoded), np.int64)
    )
    more = np.array(samples, np.float64).reshape(-1, 2)[:, 0]
    more_times = np.fromiter((time for _, time in samples), np.int64, len(samples))
    return _sent(
        keys,
        slots,
        heads,
        np.concatenate([np.flatnonzero(plain), whose]),
        np.concatenate([times[plain], more_times]),
        np.concatenate([values[plain], more]),
        messages,
        metadata,
    )


def _last_samples(entries: Sequence[bytes]) -> tuple[Ints, Ints, Floats]:
    """Of each series: how many bytes come before the one sample at its end, time and value; 0 where it is not so.

    That these bytes are labels and nothing else is still to be seen.
    """
    sizes = np.fromiter(map(len, entries), np.int64, len(entries))
    # room in front, so that there is something to look at before the first
    data = Bytes(b"".join([bytes(VALUED_BYTES), *entries]))
    lengths, times, values = data.samples_before(np.cumsum(sizes) + VALUED_BYTES)
    return np.where((lengths > 0) & (lengths < sizes), sizes - lengths, 0), times, values


def _labels_alone(message: Any) -> bytes:
    """A series' labels as everybody encodes them."""
    labels = TimeSeries(labels=message.labels)
    labels.DiscardUnknownFields()
    encoded: bytes = labels.SerializeToString()
    return encoded


def _sent(
    keys: list[int],
    slots: Ints,
    heads: list[bytes],
    sample_series: Ints,
    times: Ints,
    values: Floats,
    messages: dict[int, Any] | None = None,
    metadata: Iterable[Any] = (),
) -> Sent:
    def labels(series: int) -> Labels:
        return [(label.name, label.value) for label in TimeSeries.FromString(heads[series]).labels]

    decoded = (messages or {}).items()
    return Sent(
        keys=keys,
        slots=slots,
        labels=labels,
        encoded=heads.__getitem__,
        sample_series=sample_series,
        times=times,
        values=values,
        exemplars=[
            (i, [(label.name, label.value) for label in exemplar.labels], exemplar.value, exemplar.timestamp)
            for i, message in decoded
            for exemplar in message.exemplars
        ],
        histograms=[(i, histogram) for i, message in decoded for histogram in message.histograms],
        metadata=[
            Metadata(m.metric_family_name, metric_type(m.type), m.unit, m.help)
            for m in metadata
            if m.metric_family_name
        ],
    )
