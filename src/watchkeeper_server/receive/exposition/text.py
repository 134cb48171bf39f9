"""Prometheus' text format 0.0.4 and 1.0.0, and OpenMetrics' text 1.0.

Lines are split at their last space. Where what comes before it is line by line the same as last time, only the values
are new. Otherwise each line costs a look-up; what that does not find is looked at one by one: comments not seen before,
samples with a time or an exemplar, new series.
"""

from __future__ import annotations

import re
from itertools import compress
from operator import not_
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from watchkeeper_server.receive.exposition.exposed import (
    DROPPED,
    ClassicPart,
    Exemplar,
    Exposed,
    ExpositionError,
    Floats,
    HistogramSample,
    Labels,
    Layout,
    SeriesCache,
    TimedSample,
)
from watchkeeper_server.receive.exposition.grammar import (
    FAMILY_NAME,
    LABEL_SET,
    VALUE_BYTES,
    labels_of_exemplar,
    labels_of_series,
    normal_bound,
    parse_value,
    shown,
    split_series,
    unescaped,
    unquoted,
)
from watchkeeper_server.receive.exposition.histograms import ClassicHistogram
from watchkeeper_server.receive.exposition.write_request import METRIC_TYPES

_TEXT_COMMENT = re.compile(rf"#[ \t]+(HELP|TYPE)[ \t]+(?:{FAMILY_NAME}(?:[ \t]+(.*))?|.*)", re.DOTALL)
_OPENMETRICS_COMMENT = re.compile(rf"# (HELP|TYPE|UNIT) {FAMILY_NAME} (.*)", re.DOTALL)
_TEXT_REST = re.compile(r"[ \t]*([^ \t]+)(?:[ \t]+(-?[0-9]+))?[ \t]*")
_OPENMETRICS_REST = re.compile(r" ([^ ]+)(?: ([^ #][^ ]*))?(?: # (.+))?", re.DOTALL)
_EXEMPLAR = re.compile(r"(\{.*\}) ([^ ]+)(?: ([^ ]+))?", re.DOTALL)
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_END = b"# EOF"
# The label by which the samples of a family tell themselves apart
_BOUNDS = {"histogram": "le", "summary": "quantile"}
_CLASSIC_SUFFIXES = ("_bucket", "_count", "_sum")
_LATEST_MS = 2**62
# A line may take half a kilobyte while it is read, however short it is.
MOST_LINES = 2_000_000
_EXEMPLAR_BYTES = 64 * 1024
# So many lines are split at once: what is left of each is still in the processor's cache when it is needed.
_SLICE_LINES = 4096


def parse_text(body: bytes, cache: SeriesCache, *, openmetrics: bool = False) -> Exposed:
    """Read a whole exposition.

    Raises:
        ExpositionError: it has more than `MOST_LINES`, or a line is malformed, or holds what the cache's owner refuses;
            nothing counts then.
    """
    if len(body) > MOST_LINES and (lines := body.count(b"\n")) > MOST_LINES:
        raise ExpositionError(f"{lines:,} lines, the most is {MOST_LINES:,}; expose fewer metrics at once")
    return _Reading(body, cache, openmetrics=openmetrics).read()


class _Sample(NamedTuple):
    """The parts of a line, as exposed."""

    series: bytes
    value: bytes
    time: bytes | None
    exemplar: bytes


class _Reading:
    """One body on its way through."""

    def __init__(self, body: bytes, cache: SeriesCache, *, openmetrics: bool) -> None:
        self._cache = cache
        self._openmetrics = openmetrics
        self._exposed = Exposed()
        self._family = ("", "")
        if openmetrics:
            body = _without_end(body)
        self._lines = body.split(b"\n")
        if not self._lines[-1]:
            self._lines.pop()
        self._texts: list[bytes] = []
        self._tails: list[bytes] = []
        for start in range(0, len(self._lines), _SLICE_LINES):
            pieces = [line.rpartition(b" ") for line in self._lines[start : start + _SLICE_LINES]]
            self._texts += [piece[0] for piece in pieces]
            self._tails += [piece[2] for piece in pieces]

    def read(self) -> Exposed:
        return self._read_again() or self._read_anew()

    def _read_again(self) -> Exposed | None:
        """What it holds, if only values differ from the exposition before; a malformed one is left to the other way."""
        layout = self._cache.layout
        if layout is None or layout.openmetrics is not self._openmetrics or layout.texts != b"\n".join(self._texts):
            return None
        if layout.others != b"\n".join(compress(self._tails, layout.no_samples)):
            return None
        try:
            values = _numbers(list(compress(self._tails, layout.samples)))
        except ValueError:
            return None
        scraped = len(values)
        if layout.kept is not None:
            values = values[layout.kept]
        return Exposed(layout.heads, values, scraped=scraped, kept=len(values))

    def _read_anew(self) -> Exposed:
        cache, exposed = self._cache, self._exposed
        before, cache.layout = self._texts.copy(), None
        found = list(map(cache.heads.get, self._texts))
        others = [index for index, head in enumerate(found) if head is None]
        exposed.scraped = len(found) - len(others)
        for index in others:
            try:
                found[index] = self._other(index)
            except (ExpositionError, UnicodeDecodeError) as error:
                message = str(error) if isinstance(error, ExpositionError) else "the line is not valid UTF-8"
                known_after = sum(head is not None for head in found[index:])
                raise self._error(message, index, found, exposed.scraped - known_after) from error
        samples = [head is not None for head in found]
        kept = list(map(bool, found))
        values = self._values(found, samples)
        exposed.kept = exposed.scraped - found.count(DROPPED)
        all_kept = len(values) == sum(kept)
        which = None if all_kept else np.fromiter(compress(kept, samples), np.bool_, len(values))
        exposed.heads = tuple(filter(None, found))
        exposed.values = values if which is None else values[which]
        if before == self._texts and not (cache.parts or exposed.timed or exposed.exemplars):
            no_samples = bytes(map(not_, samples))
            texts, rest = b"\n".join(before), b"\n".join(compress(self._tails, no_samples))
            cache.layout = Layout(self._openmetrics, texts, bytes(samples), no_samples, rest, which, exposed.heads)
        if cache.parts:
            self._convert_classic(found)
        cache.forget(self._texts)
        return exposed

    def _values(self, found: list[bytes | None], samples: list[bool]) -> Floats:
        """The samples' values, those of dropped series too."""
        try:
            return _numbers(list(compress(self._tails, samples)))
        except ValueError:
            pass
        for index in compress(range(len(found)), samples):
            try:
                parse_value(self._tails[index].decode("utf-8", "replace"))
            except ExpositionError as error:
                scraped = sum(head is not None for head in found[:index]) + len(self._exposed.timed)
                raise self._error(str(error), index, found, scraped) from error
        raise ExpositionError("a value is no number")

    def _error(self, message: str, index: int, found: list[bytes | None], scraped: int) -> ExpositionError:
        kept = sum(map(bool, found[:index])) + len(self._exposed.timed)
        return ExpositionError(message, index + 1, scraped=scraped, kept=kept)

    def _other(self, index: int) -> bytes | None:
        """A line that no look-up has found: the head if it is a sample whose value is its tail, None otherwise."""
        line = self._lines[index]
        stripped = line.lstrip(b" \t")
        if stripped[:1] == b"#":
            self._comment(line)
            return None
        if not stripped:
            if self._openmetrics:
                raise ExpositionError("OpenMetrics has no blank lines")
            return None
        return self._sample(index, line)

    def _comment(self, line: bytes) -> None:
        comments = self._cache.comments
        if line in comments:
            self._family = comments[line] or self._family
            return
        text = line.decode()
        pattern = _OPENMETRICS_COMMENT if self._openmetrics else _TEXT_COMMENT
        match = pattern.fullmatch(text.lstrip(" \t"))
        if match is None and self._openmetrics:
            raise ExpositionError(f"expected # HELP, # TYPE, # UNIT or # EOF, got {shown(text)}")
        comments[line] = self._describe(match) if match else None
        self._family = comments[line] or self._family

    def _describe(self, match: re.Match[str]) -> tuple[str, str] | None:
        what, name, text = match.groups()
        if name is None:
            raise ExpositionError(f"expected metric name after {what}")
        family, text = unquoted(name), text or ""
        describe = self._cache.describe
        match what:
            case "HELP":
                describe(family, self._exposed, help=unescaped(text) if "\\" in text else text)
            case "UNIT":
                if text and not family.endswith(f"_{text}"):
                    raise ExpositionError(f"unit {shown(text)} not a suffix of metric {shown(family)}")
                describe(family, self._exposed, unit=text)
            case _:
                metric_type = "unknown" if text.strip(" \t") == "untyped" else text.strip(" \t")
                if metric_type not in METRIC_TYPES:
                    raise ExpositionError(f"invalid metric type {shown(text)}")
                describe(family, self._exposed, type=metric_type)
                return family, metric_type
        return None

    def _sample(self, index: int, line: bytes) -> bytes | None:
        sample = self._split_known(line)
        if sample:
            self._exposed.scraped += 1
        else:
            sample = self._split(line)
        cache, series = self._cache, sample.series
        head = cache.heads[series]
        if self._texts[index].rstrip(b" \t") == series:  # spaces are no difference, but cost the look-up
            cache.heads[self._texts[index]] = head
            if series in cache.parts:
                cache.parts[self._texts[index]] = cache.parts[series]
        if sample.exemplar and head:
            self._exemplar(head, sample.exemplar)
        if sample.time is not None:
            value, time_ms = parse_value(sample.value.decode()), self._time(sample.time.decode())
            if head and series not in cache.parts:  # parts of a histogram are gathered, whatever their time
                self._exposed.timed.append(TimedSample(head, value, time_ms))
                return None
        self._texts[index], self._tails[index] = series, sample.value
        return head

    def _split_known(self, line: bytes) -> _Sample | None:
        """The parts of a line whose series was there before."""
        exemplar = b""
        if self._openmetrics:
            line, _, exemplar = line.partition(b" # ")
        series, _, value = line.rpartition(b" ")
        if series in self._cache.heads:
            return _Sample(series, value, None, exemplar)
        series, _, earlier = series.rpartition(b" ")
        if earlier and series in self._cache.heads:
            return _Sample(series, earlier, value, exemplar)
        return None

    def _split(self, line: bytes) -> _Sample:
        """The parts of a line, its series learnt if need be."""
        text = line.decode()
        name, inside, end = split_series(text)
        rest = text[end:]
        match = (_OPENMETRICS_REST if self._openmetrics else _TEXT_REST).fullmatch(rest)
        if match is None or (inside is None and rest[:1] not in (" ", "\t")):
            raise ExpositionError(f"expected a value after the series, got {shown(rest)}")
        parse_value(match[1])
        series = text[:end].encode()
        self._exposed.scraped += 1
        if series not in self._cache.heads:
            self._learn(series, labels_of_series(name, inside))
        exemplar = match[3] if self._openmetrics else None
        return _Sample(series, match[1].encode(), match[2].encode() if match[2] else None, (exemplar or "").encode())

    def _time(self, text: str) -> int:
        seconds = parse_value(text) * (1000 if self._openmetrics else 1)
        if not abs(seconds) < _LATEST_MS or (not self._openmetrics and not _WHOLE.fullmatch(text)):
            raise ExpositionError(f"expected a timestamp, got {shown(text)}")
        return int(seconds) if self._openmetrics else int(text)

    def _learn(self, series: bytes, labels: Labels) -> None:
        family, metric_type = self._family
        bound = _BOUNDS.get(metric_type)
        if bound:
            labels = [(name, normal_bound(value) if name == bound else value) for name, value in labels]
        if self._cache.convert_classic and metric_type == "histogram":
            part = self._part(family, labels)
            if part:
                self._cache.parts[series] = part
                if not self._cache.keep_classic:
                    self._cache.heads[series] = DROPPED
                    return
        self._cache.learn(series, labels)

    def _part(self, family: str, labels: Labels) -> ClassicPart | None:
        values = dict(labels)
        suffix = values["__name__"].removeprefix(family)
        if suffix not in _CLASSIC_SUFFIXES or (suffix == "_bucket" and "le" not in values):
            return None
        bound = parse_value(values["le"]) if suffix == "_bucket" else 0.0
        base = [("__name__", family), *((name, value) for name, value in labels if name not in ("__name__", "le"))]
        return ClassicPart(self._cache.prepare(base), suffix[1:], bound)

    def _exemplar(self, head: bytes, raw: bytes) -> None:
        if len(raw) > _EXEMPLAR_BYTES:
            raise ExpositionError(f"an exemplar has {len(raw):,} bytes, the most is {_EXEMPLAR_BYTES:,}")
        if not self._cache.is_new_exemplar(head, raw):
            return
        match = _EXEMPLAR.fullmatch(raw.decode())
        label_set = LABEL_SET.fullmatch(match[1]) if match else None
        if match is None or label_set is None:
            raise ExpositionError(f"expected a label set, a value and perhaps a time, got {shown(raw.decode())}")
        time_ms = self._time(match[3]) if match[3] else None
        labels = labels_of_exemplar(label_set[1])
        self._exposed.exemplars.append(Exemplar(head, labels, parse_value(match[2]), time_ms))

    def _convert_classic(self, found: list[bytes | None]) -> None:
        """Make native histograms of the classic ones' samples, which count as one sample each then."""
        cache, exposed = self._cache, self._exposed
        gathered: dict[bytes, ClassicHistogram] = {}
        parts = 0
        for text, tail, head in zip(self._texts, self._tails, found, strict=True):
            part = cache.parts.get(text) if head is not None else None
            if part is not None:
                parts += 1
                gathered.setdefault(part.head, ClassicHistogram()).add(part.kind, part.bound, float(tail))
        converted = {head: histogram.converted() for head, histogram in gathered.items() if head}
        exposed.histograms += [HistogramSample(head, made, None) for head, made in converted.items() if made]
        exposed.scraped += len(gathered)
        exposed.kept += len(exposed.histograms)
        if not cache.keep_classic:
            exposed.scraped -= parts  # they were counted as dropped, not as kept


def _numbers(texts: list[bytes]) -> Floats:
    """What the texts say, read as Go does.

    Raises:
        ValueError: one of them is no number.
    """
    if b"".join(texts).translate(None, VALUE_BYTES):  # hexadecimal, say, or a space
        raise ValueError
    numbers: Floats = pc.cast(pa.array(texts, pa.binary()), pa.float64()).to_numpy()
    return numbers


def _without_end(body: bytes) -> bytes:
    """An OpenMetrics body without its last line, which says that nothing was cut off."""
    if body.endswith(b"\n"):
        body = body[:-1]
    if body != _END and not body.endswith(b"\n" + _END):
        raise ExpositionError(
            "unexpected data after # EOF" if b"\n" + _END + b"\n" in body else "data does not end with # EOF"
        )
    return body[: -len(_END)]
