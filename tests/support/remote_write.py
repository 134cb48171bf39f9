"""Remote write requests, made as a sender would, and what a batch made of them holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import cramjam

from watchkeeper_server.receive.prompb import RequestV2, SampleBatch, WriteRequest
from watchkeeper_server.receive.remote_write_v1 import decode_v1
from watchkeeper_server.receive.sample_batch import CheckedSamples, SampleCheck, TimeBounds

NOW_MS = 1_763_700_000_000
BOUNDS = TimeBounds(0, NOW_MS + 3_600_000)
# A series: labels in order, and (time, value) of its samples
Series = tuple[Mapping[str, str] | Sequence[tuple[str, str]], Sequence[tuple[int, float]]]


def pairs(labels: Mapping[str, str] | Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Labels in order."""
    return list(labels.items() if isinstance(labels, Mapping) else labels)


def request_v1(*series: Series) -> Any:
    """A `prometheus.WriteRequest`."""
    request = WriteRequest()
    for labels, samples in series:
        one = request.timeseries.add()
        for name, value in pairs(labels):
            one.labels.add(name=name, value=value)
        for time, value in samples:
            one.samples.add(timestamp=time, value=value)
    return request


class SymbolTable:
    """Texts by number, as remote write 2.0 sends them."""

    def __init__(self) -> None:
        """Only the empty text, which is the first."""
        self.numbers = {"": 0}

    def ref(self, text: str) -> int:
        """A text's number."""
        return self.numbers.setdefault(text, len(self.numbers))

    def refs(self, labels: Mapping[str, str] | Sequence[tuple[str, str]]) -> list[int]:
        """Labels as pairs of numbers."""
        return [self.ref(text) for pair in pairs(labels) for text in pair]


def request_v2(*series: Series, symbols: SymbolTable | None = None) -> Any:
    """An `io.prometheus.write.v2.Request`."""
    symbols = symbols or SymbolTable()
    request = RequestV2()
    for labels, samples in series:
        one = request.timeseries.add(labels_refs=symbols.refs(labels))
        for time, value in samples:
            one.samples.add(timestamp=time, value=value)
    request.symbols.extend(symbols.numbers)
    return request


def snappy(request: Any) -> bytes:
    """A request as it travels."""
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def checked(body: bytes, decode: Any = decode_v1, check: SampleCheck | None = None) -> CheckedSamples:
    """The verdict on a body, by a check that knows nothing yet if none is given."""
    return (check or SampleCheck(100)).check(partial(decode, body), BOUNDS)


def batch_of(verdict: CheckedSamples) -> Any:
    """The batch for the journal."""
    return SampleBatch.FromString(verdict.payload)


def samples_of(verdict: CheckedSamples) -> list[tuple[str, int, int, float]]:
    """Its samples: metric, id, time, value."""
    batch = batch_of(verdict)
    return list(zip(batch.metric, batch.id, batch.time, batch.value, strict=True))
