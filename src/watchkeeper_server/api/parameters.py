"""Query parameters: their names, defaults and limits for the OpenAPI document, and their texts as values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from watchkeeper_server.model.errors import ParameterError
from watchkeeper_server.model.filters import LogFilter, SpanFilter, parse_words
from watchkeeper_server.model.times import DEFAULT_RANGE_NS, TimeRange, parse_duration, parse_time

MAX_TEXT = 2_000

Text = Annotated[str, Field(max_length=MAX_TEXT)]
TraceId = Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")]
SpanId = Annotated[str, Field(pattern="^[0-9a-fA-F]{16}$")]
Level = Literal["trace", "debug", "info", "warn", "error", "fatal"]


class Parameters(BaseModel):
    """What a request takes; a parameter it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class RangeParameters(Parameters):
    """A range of time."""

    start: Text | None = Field(
        None, description="RFC 3339, Unix seconds, or relative: `now-15m`. An hour before the end if not given."
    )
    end: Text = Field("now", description="Likewise; the range ends before it.")

    def range(self, now_ns: int) -> TimeRange:
        """The range.

        Raises:
            ParameterError: an end of it is no time, or they are in the wrong order.
        """
        with naming("end"):
            end_ns = parse_time(self.end, now_ns)
        with naming("start"):
            start_ns = parse_time(self.start, now_ns) if self.start else max(0, end_ns - DEFAULT_RANGE_NS)
        if start_ns >= end_ns:
            raise ParameterError(f"{self.start} is not before the end, {self.end}", "start")
        return TimeRange(start_ns, end_ns)


class PageParameters(RangeParameters):
    """A page of a range."""

    limit: int = Field(100, ge=1, le=1_000, description="At most so many a page.")
    cursor: Text | None = Field(None, description="The `next` of the previous page.")


class _LogConditions(Parameters):
    service: Text = ""
    level: Level | None = Field(None, description="The lowest to include.")
    trace_id: TraceId | None = None
    span_id: SpanId | None = None
    words: Text = Field("", description='All must occur, in any order and case; `"two words"` occur as written.')

    def filter(self) -> LogFilter:
        """The filter.

        Raises:
            ParameterError: there are too many words.
        """
        with naming("words"):
            words = parse_words(self.words)
        return LogFilter(
            service=self.service,
            level=self.level or "",
            trace_id=(self.trace_id or "").lower(),
            span_id=(self.span_id or "").lower(),
            words=words,
        )


class LogTailParameters(_LogConditions):
    """Which log records to follow."""


class LogParameters(_LogConditions, PageParameters):
    """Which log records, by page."""


class LogCountParameters(_LogConditions, RangeParameters):
    """Which log records to count."""

    buckets: int = Field(60, ge=1, le=1_000, description="Into how many equal pieces the range is cut.")


class TraceParameters(PageParameters):
    """Which traces: those with a span that all conditions hold for."""

    service: Text = ""
    operation: Text = Field("", description="A span's name.")
    min_duration: Text | None = Field(None, description="Such as `250ms`, `1.5s` or `2m`.")
    max_duration: Text | None = None
    status: Literal["error", "ok", "unset"] | None = None
    attribute: list[Text] = Field(
        [], max_length=20, description="`key=value`, repeatable; of the span or of its resource."
    )

    def filter(self) -> SpanFilter:
        """The filter.

        Raises:
            ParameterError: a duration or attribute cannot be understood.
        """
        with naming("min_duration"):
            shortest_ns = parse_duration(self.min_duration) if self.min_duration else None
        with naming("max_duration"):
            longest_ns = parse_duration(self.max_duration) if self.max_duration else None
        return SpanFilter(
            service=self.service,
            operation=self.operation,
            min_duration_ns=shortest_ns,
            max_duration_ns=longest_ns,
            status=self.status or "",
            attributes=_pairs(self.attribute, "attribute"),
        )


class MetricParameters(RangeParameters):
    """Which metrics."""

    prefix: Text = Field("", description="How the name begins.")
    service: Text = ""


class SeriesParameters(RangeParameters):
    """Which series of a metric."""

    label: list[Text] = Field([], max_length=20, description="`name=value`, repeatable.")
    limit: int = Field(100, ge=1, le=1_000, description="At most so many series.")
    max_points: int = Field(1_000, ge=1, le=11_000, description="At most so many samples a series, thinned evenly.")

    def labels(self) -> tuple[tuple[str, str], ...]:
        """Names with values.

        Raises:
            ParameterError: one is not a pair.
        """
        return _pairs(self.label, "label")


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Within this, a ValueError is about the named parameter."""
    try:
        yield
    except ValueError as error:
        raise ParameterError(str(error), field) from error


def _pairs(texts: Sequence[str], field: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in texts:
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise ParameterError(f"{text!r} is not a name and a value joined by =", field)
        pairs.append((name, value))
    return tuple(pairs)
