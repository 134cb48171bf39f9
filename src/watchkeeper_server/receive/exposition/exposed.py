"""What an exposition says, whatever its format, and how its series are remembered between two of them.

A series is known by its *head*: the bytes of its `TimeSeries` up to the value of its one sample. Parsers look a
series' text up in a `SeriesCache` and get its head; only what has not been seen before is taken apart, relabelled and
encoded. Empty as a head means that the series is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from watchkeeper_server.model.errors import WatchkeeperError
from watchkeeper_server.receive.exposition.histograms import NativeHistogram

Labels = Sequence[tuple[str, str]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
DROPPED = b""
# What is remembered may outgrow what is exposed by this much before it is looked through.
_SLACK = 1000


class ExpositionError(WatchkeeperError):
    """An exposition cannot be read, or not be taken as it is.

    Attributes:
        line: where, counted from one, and 0 unknown.
        scraped: how many samples had been read by then.
        kept: how many of them were not dropped.
    """

    def __init__(self, message: str, line: int = 0, *, scraped: int = 0, kept: int = 0) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line
        self.scraped = scraped
        self.kept = kept


class WrittenOut:
    """A bound on labels that are exposed once and written with each of many samples."""

    def __init__(self, most_bytes: int) -> None:
        """So many bytes may be written."""
        self._most_bytes = self._left = most_bytes

    def with_room(self, labels: bytes) -> bytes:
        """The same labels, for which there is room.

        Raises:
            ExpositionError: there is none.
        """
        self._left -= len(labels)
        if self._left < 0:
            raise ExpositionError(
                f"the labels, written out with each sample, come to more than {self._most_bytes:,} bytes, the most"
            )
        return labels


class Metadata(NamedTuple):
    """What is known of a metric family; the type in OpenMetrics' words."""

    type: str = "unknown"
    help: str = ""
    unit: str = ""


class TimedSample(NamedTuple):
    """A sample that brings its own time."""

    head: bytes
    value: float
    time_ms: int


class Exemplar(NamedTuple):
    """An example of what a series counts; without a time of its own it has that of its sample."""

    head: bytes
    labels: Labels
    value: float
    time_ms: int | None


class HistogramSample(NamedTuple):
    """A native histogram; without a time of its own it has that of the scrape."""

    head: bytes
    histogram: NativeHistogram
    time_ms: int | None


@dataclass(slots=True)
class Exposed:
    """An exposition, read.

    Attributes:
        heads: the series of the samples without a time of their own; may hold a series more than once. The very
            tuple of the exposition before says that there is nothing else in this one.
        values: their values, in the same order.
        timed: the samples with one.
        histograms: native histograms.
        exemplars: those that differ from what the series had last.
        changed: the families whose metadata are new or differ.
        scraped: how many samples there were.
        kept: how many were not dropped.
    """

    heads: tuple[bytes, ...] = ()
    values: Floats = field(default_factory=lambda: np.empty(0))
    timed: list[TimedSample] = field(default_factory=list)
    histograms: list[HistogramSample] = field(default_factory=list)
    exemplars: list[Exemplar] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    scraped: int = 0
    kept: int = 0


class ClassicPart(NamedTuple):
    """Where a sample of a classic histogram belongs once the histogram is one of custom buckets."""

    head: bytes
    kind: str  # bucket, count or sum
    bound: float


class Layout(NamedTuple):
    """An exposition without its values: the next is nearly always the same again.

    Attributes:
        texts: every line up to its last space, joined: comparing one piece of memory is quick, a thousand are not.
        samples: which lines are samples, 1 or 0 for each.
        no_samples: the opposite.
        others: what follows the last space of the lines that are none, joined.
        kept: which samples are not dropped; None if all of them.
        heads: the series of those.
    """

    openmetrics: bool
    texts: bytes
    samples: bytes
    no_samples: bytes
    others: bytes
    kept: np.ndarray[Any, np.dtype[np.bool_]] | None
    heads: tuple[bytes, ...]


class SeriesCache:
    """What one target's expositions have taught so far.

    Attributes:
        heads: a series as exposed → its head.
        parts: a classic histogram's sample as exposed → where it belongs; only when these are converted.
        comments: a comment line as exposed → the family and type it begins, if it does.
        metadata: by family.
        exemplars: head → the exemplar seen last, as exposed.
        layout: of the exposition before, if it held nothing but samples without a time, and what describes them.
    """

    def __init__(
        self,
        prepare: Callable[[Labels], bytes],
        *,
        convert_classic: bool = False,
        keep_classic: bool = False,
        native: bool = True,
    ) -> None:
        """Know nothing yet.

        Args:
            prepare: labels as exposed, `__name__` among them → head; ExpositionError for what may not be.
            convert_classic: make native histograms with custom buckets of classic ones.
            keep_classic: keep the classic histogram beside a native one.
            native: read native histograms; otherwise only their classic form.
        """
        self.prepare = prepare
        self.convert_classic = convert_classic
        self.keep_classic = keep_classic
        self.native = native
        self.heads: dict[bytes, bytes] = {}
        self.parts: dict[bytes, ClassicPart] = {}
        self.comments: dict[bytes, tuple[str, str] | None] = {}
        self.metadata: dict[str, Metadata] = {}
        self.exemplars: dict[bytes, bytes] = {}
        self.layout: Layout | None = None

    def learn(self, text: bytes, labels: Labels) -> bytes:
        """The head of a series, remembered under this text."""
        head = self.heads[text] = self.prepare(labels)
        return head

    def describe(self, family: str, exposed: Exposed, **what: str) -> None:
        """Take in a family's type, help or unit."""
        known = self.metadata.get(family, Metadata())
        changed = known._replace(**what)
        if changed != known or family not in self.metadata:
            self.metadata[family] = changed
            exposed.changed.append(family)

    def is_new_exemplar(self, head: bytes, exemplar: bytes) -> bool:
        """Whether a series' exemplar is another than the last; targets show one until they have a newer."""
        if self.exemplars.get(head) == exemplar:
            return False
        self.exemplars[head] = exemplar
        return True

    def relearn(self) -> None:
        """Tell metadata and exemplars once more, because those told last went nowhere."""
        self.comments.clear()
        self.metadata.clear()
        self.exemplars.clear()
        self.layout = None

    def forget(self, exposed_now: Sequence[bytes]) -> None:
        """Keep only what is exposed now, where the rest has grown to outweigh it; costs little otherwise."""
        most = 2 * len(exposed_now) + _SLACK
        if len(self.heads) > most:
            now = set(exposed_now)
            self.heads = {text: head for text, head in self.heads.items() if text in now}
            self.parts = {text: part for text, part in self.parts.items() if text in now}
        if len(self.exemplars) > most:
            self.exemplars.clear()
        if len(self.comments) > most:
            self.comments.clear()
            self.metadata.clear()
            self.layout = None
