"""An exposition that somebody pushes, as a remote-write request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from operator import attrgetter

from watchkeeper_server.receive.exposition.content import Format, format_of
from watchkeeper_server.receive.exposition.exposed import (
    Exposed,
    ExpositionError,
    Labels,
    SeriesCache,
    WrittenOut,
)
from watchkeeper_server.receive.exposition.grammar import MOST_LABELS, TOO_MANY_LABELS, shown
from watchkeeper_server.receive.exposition.protobuf import parse_protobuf
from watchkeeper_server.receive.exposition.text import parse_text
from watchkeeper_server.receive.exposition.write_request import (
    encode_exemplar,
    encode_metadata,
    encode_sample,
    encode_samples,
    encode_series,
    series_head,
)

# For any name or value, whatever a job's own limits are.
MOST_LABEL_BYTES = 64 * 1024
# Labels given to a whole push are written out with each of its samples.
_WRITTEN_BYTES = 128 * 1024 * 1024
_HEAD = attrgetter("head")


def parse(body: bytes, body_format: Format, cache: SeriesCache) -> Exposed:
    """Read a whole exposition of any format.

    Raises:
        ExpositionError: it cannot be read, or holds what the cache's owner refuses.
    """
    if body_format is Format.PROTOBUF:
        return parse_protobuf(body, cache)
    return parse_text(body, cache, openmetrics=body_format is Format.OPENMETRICS)


def parse_to_write_request(
    body: bytes, content_type: str, now_ms: int, extra_labels: Mapping[str, str] | None = None
) -> bytes:
    """A pushed exposition as the bytes of one uncompressed remote-write request.

    Args:
        body: the exposition.
        content_type: says its format; Prometheus' text if empty.
        now_ms: the time of samples that bring none.
        extra_labels: given to every series, over labels of the same name.

    Raises:
        ExpositionError: it cannot be read, or comes to too much; nothing of it counts then.
    """
    extra = dict(extra_labels or {})
    written = WrittenOut(_WRITTEN_BYTES)

    def prepare(labels: Labels) -> bytes:
        return written.with_room(series_head(stored_labels({**unique_labels(labels), **extra}).items()))

    cache = SeriesCache(prepare)
    exposed = parse(body, format_of(content_type, "PrometheusText0.0.4"), cache)
    for head in map(_HEAD, chain(exposed.timed, exposed.histograms, exposed.exemplars)):
        written.with_room(head)
    # the first of a series counts, as in a scrape
    first = dict(zip(reversed(exposed.heads), reversed(exposed.values), strict=True))
    return encode_samples(list(first), first.values(), now_ms) + encode_others(exposed, cache, now_ms)


def encode_others(exposed: Exposed, cache: SeriesCache, now_ms: int) -> bytes:
    """Everything of an exposition but the samples without a time."""
    parts = [encode_sample(*sample) for sample in dict.fromkeys(exposed.timed)]
    parts += [
        encode_series(head, histogram.encoded(now_ms if time_ms is None else time_ms))
        for head, histogram, time_ms in exposed.histograms
    ]
    parts += [
        encode_series(head, encode_exemplar(labels, value, now_ms if time_ms is None else time_ms))
        for head, labels, value, time_ms in exposed.exemplars
    ]
    parts += [encode_metadata(family, *cache.metadata[family]) for family in dict.fromkeys(exposed.changed)]
    return b"".join(parts)


def unique_labels(labels: Labels) -> dict[str, str]:
    """Labels by name.

    Raises:
        ExpositionError: there are too many, or a name is there twice.
    """
    if len(labels) > MOST_LABELS:
        raise ExpositionError(TOO_MANY_LABELS)
    unique = dict(labels)
    if len(unique) != len(labels):
        twice = next(name for name, count in Counter(name for name, _ in labels).items() if count > 1)
        raise ExpositionError(f"label name {shown(twice)} is not unique")
    return unique


def stored_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels without empty ones, which mean the same as none.

    Raises:
        ExpositionError: no metric name is left, a label has no name, or is too long.
    """
    stored = {name: value for name, value in labels.items() if value}
    if "__name__" not in stored or "" in stored:
        raise ExpositionError("missing metric name (__name__ label)" if "" not in stored else "a label has no name")
    for name, value in stored.items():
        longest = max(len(name), len(value))
        if longest * 4 > MOST_LABEL_BYTES:  # a character takes four bytes at most
            longest = max(len(name.encode()), len(value.encode()))
            if longest > MOST_LABEL_BYTES:
                raise ExpositionError(
                    f"label {shown(name)} of metric {shown(stored['__name__'])} has {longest:,} bytes, the most is "
                    f"{MOST_LABEL_BYTES:,}"
                )
    return stored
