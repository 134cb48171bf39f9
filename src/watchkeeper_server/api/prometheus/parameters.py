"""What requests carry: parameters of the address and of a form, and their texts as values, read as Prometheus does.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/; the finer points are those of Go's `strconv` and
`time`, with which Prometheus reads.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import parse_qs

from starlette.requests import Request

from watchkeeper_server.api.prometheus.errors import RequestError, invalid_parameter
from watchkeeper_server.api.prometheus.queries import MAX_TIME_MS, MIN_TIME_MS, Selectors
from watchkeeper_server.promql.durations import DurationError, parse_duration
from watchkeeper_server.promql.matchers import matches
from watchkeeper_server.promql.parser import parse_selector
from watchkeeper_server.promql.quoting import quote

MAX_FORM_BYTES = 10 * 1024 * 1024
FORM_SECONDS = 30.0

T = TypeVar("T")

_FORM = "application/x-www-form-urlencoded"
_WITH_FORM = ("POST", "PUT")
_NANOSECONDS = 1_000_000_000
_MAX_INT64 = 2**63 - 1
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE_NUMBER = re.compile(r"[+-]?\d+", re.ASCII)
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d?):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
# what Go's time cannot read, though it writes it
_EXTREMES = {"-292273086-05-16T16:47:06Z": MIN_TIME_MS, "292277025-08-18T07:12:54.999999999Z": MAX_TIME_MS}


class Parameters:
    """The parameters of a request: those of its form come before those of its address.

    `path` are those in the address' path, `accept` is the header. What reads one raises `RequestError` where it is
    wrong.
    """

    def __init__(self, values: Mapping[str, Sequence[str]], path: Mapping[str, str], accept: str) -> None:
        self._values = values
        self.path, self.accept = path, accept

    @classmethod
    async def of(cls, request: Request) -> Parameters:
        """Read them; the form, if there is one, within its limits of size and time.

        Raises:
            RequestError: the form is too large or too slow.
            ClientDisconnect: the sender is gone.
        """
        address = request.scope["query_string"].decode("latin-1")
        values: dict[str, list[str]] = {}
        for encoded in (await _form(request), address):
            for name, texts in parse_qs(encoded, keep_blank_values=True, errors="replace").items():
                values.setdefault(name, []).extend(texts)
        return cls(values, request.path_params, request.headers.get("accept", ""))

    def text(self, name: str) -> str:
        """The parameter, empty if it is not given."""
        return self._values.get(name, ("",))[0]

    def texts(self, name: str) -> Sequence[str]:
        """All values of a parameter that may be repeated."""
        return self._values.get(name, ())

    def time_ms(self, name: str) -> int:
        """A time that has to be given, Unix milliseconds."""
        return self._read(name, parse_time)

    def optional_time_ms(self, name: str, default_ms: int) -> int:
        """A time, Unix milliseconds."""
        try:
            return parse_time(self.text(name)) if self.text(name) else default_ms
        except ValueError as error:
            raise invalid_parameter(name, f"invalid time value for '{name}': {error}") from error

    def range_ms(self) -> tuple[int, int]:
        """`start` and `end`, Unix milliseconds; always if not given."""
        return self.optional_time_ms("start", MIN_TIME_MS), self.optional_time_ms("end", MAX_TIME_MS)

    def duration_ns(self, name: str) -> int:
        """A duration that has to be given, nanoseconds."""
        return self._read(name, parse_seconds)

    def limit(self) -> int:
        """`limit`; 0, also if it is not given, is none."""
        limit = self._read("limit", parse_whole_number) if self.text("limit") else 0
        if limit < 0:
            raise invalid_parameter("limit", "limit must be non-negative")
        return limit

    def optional_limit(self, name: str) -> int | None:
        """A limit of metadata: None, also where it is negative, is none, and 0 leaves nothing."""
        try:
            limit = parse_whole_number(self.text(name)) if self.text(name) else -1
        except ValueError as error:
            raise RequestError(f"{name} must be a number") from error
        return limit if limit >= 0 else None

    def selectors(self) -> Selectors:
        """`match[]`: of each, at least one matcher does not match the empty string.

        Raises:
            ParseError: one is no selector.
        """
        selectors = [parse_selector(text) for text in self.texts("match[]")]
        if any(all(matches(matcher, "") for matcher in matchers) for matchers in selectors):
            raise RequestError("match[] must contain at least one non-empty matcher")
        return selectors

    def _read(self, name: str, parse: Callable[[str], T]) -> T:
        try:
            return parse(self.text(name))
        except ValueError as error:
            raise invalid_parameter(name, error) from error


def parse_time(text: str) -> int:
    """Unix milliseconds of RFC 3339 or Unix seconds, from `MIN_TIME_MS` to `MAX_TIME_MS`.

    Raises:
        ValueError: it is neither.
    """
    time = _EXTREMES.get(text)
    if time is None and _NUMBER.fullmatch(text):
        time = _milliseconds(float(text))
    elif time is None and (match := _RFC3339.fullmatch(text)):
        time = _calendar_ms(*match.groups())
    if time is None:
        raise ValueError(f"cannot parse {quote(text)} to a valid timestamp")
    return min(max(time, MIN_TIME_MS), MAX_TIME_MS)


def parse_seconds(text: str) -> int:
    """Nanoseconds of a number of seconds or a duration such as `1h30m`.

    Raises:
        ValueError: it is neither, or longer than 292 years.
    """
    if _NUMBER.fullmatch(text) and math.isfinite(seconds := float(text)):
        if abs(seconds * _NANOSECONDS) > _MAX_INT64:
            raise ValueError(f"cannot parse {quote(text)} to a valid duration. It overflows int64")
        return int(seconds * _NANOSECONDS)
    try:
        return parse_duration(text) * 1_000_000
    except DurationError as error:
        raise ValueError(f"cannot parse {quote(text)} to a valid duration") from error


def parse_whole_number(text: str) -> int:
    """An integer of 64 bits.

    Raises:
        ValueError: it is none; the message is Go's.
    """
    if not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError(f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
    # no more digits than any such number has: int() of very many is slow
    number = int(text) if len(text) <= len(str(_MAX_INT64)) + 1 else _MAX_INT64 + 1
    if not -_MAX_INT64 - 1 <= number <= _MAX_INT64:
        raise ValueError(f"strconv.Atoi: parsing {quote(text)}: value out of range")
    return number


async def _form(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method not in _WITH_FORM or kind != _FORM:
        return ""
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_FORM_BYTES:
                    raise RequestError("error parsing form values: http: POST too large", status=413)
    except TimeoutError as error:
        raise RequestError(f"the form did not arrive within {FORM_SECONDS:g} seconds", status=408) from error
    return body.decode("latin-1")


def _milliseconds(seconds: float) -> int | None:
    """Rounded to the nearest, a half away from zero; None past what 64 bits of milliseconds hold."""
    if abs(seconds) * 1000 > _MAX_INT64:
        return None
    fraction, whole = math.modf(seconds)
    return int(whole) * 1000 + int(fraction * 1000 + math.copysign(0.5, fraction))


def _calendar_ms(*parts: str | None) -> int | None:
    """From a match of `_RFC3339`; further digits than milliseconds do not count."""
    *clock, fraction, sign, hours, minutes = parts
    zone = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        time = datetime(*(int(part or 0) for part in clock)) - (-zone if sign == "-" else zone)  # type: ignore[arg-type]  # noqa: DTZ001
    except (ValueError, OverflowError):
        return None
    return (time - datetime(1970, 1, 1)) // timedelta(milliseconds=1) + int((fraction or "0").ljust(3, "0")[:3])  # noqa: DTZ001
