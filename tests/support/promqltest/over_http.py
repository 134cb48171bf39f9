"""A server with Prometheus' HTTP API as a target of the test language, filled by remote write.

A server refuses samples of 1970 and, for most, samples older than those it has. So time 0 of a case is a time in the
past, later for each set of data than all before; nothing is deleted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import httpx

from support.promqltest import remote_write
from support.promqltest.histograms import Histogram
from support.promqltest.series import Series
from support.promqltest.targets import Answer, NotSupportedError, QueryFailedError
from watchkeeper_server.promql.values import Steps

_DAY = 86_400_000
# What says which time it is, which is not the one that the case was written for.
_ABSOLUTE = re.compile(r"@\s*[-+.\d]|\b(?:time|timestamp|minute|hour|month|year|days?_\w+|ts_of_\w+)\s*\(")


class OverHttp:
    """A target; see `targets.Target`. `base` is the first time 0, Unix milliseconds; days begin with it."""

    def __init__(self, url: str, base: int | None = None) -> None:
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=30)
        year_ago = int(time.time() * 1000) - 360 * _DAY
        self._next = (year_ago if base is None else base) // _DAY * _DAY
        self._base = self._next

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def hold(self, data: Sequence[Series]) -> None:
        """Writes these at a time at which nothing else is."""
        self._base = self._next
        last = max((when for series in data for when, _ in series.samples), default=0)
        self._next += (last // _DAY + 2) * _DAY
        if not data:
            return
        earliest_first = sorted(data, key=lambda series: series.samples[0][0] if series.samples else 0)
        written = self._client.post(
            "/api/v1/write", content=remote_write.body(earliest_first, self._base), headers=remote_write.HEADERS
        )
        if written.is_error:
            raise NotSupportedError(
                f"the server does not take the series: {written.status_code} {written.text.strip()}"
            )

    def instant(self, query: str, time: int) -> Answer:
        """The answer at a time."""
        return self._ask("query", query, {"time": self._seconds(time)})

    def range(self, query: str, steps: Steps) -> Answer:
        """The answer at each step."""
        return self._ask(
            "query_range",
            query,
            {"start": self._seconds(steps.start), "end": self._seconds(steps.end), "step": f"{steps.step / 1000:.3f}"},
        )

    def _seconds(self, milliseconds: int) -> str:
        return f"{(milliseconds + self._base) / 1000:.3f}"

    def _ask(self, path: str, query: str, when: dict[str, str]) -> Answer:
        if self._base and _ABSOLUTE.search(query):
            raise NotSupportedError("the query names a time, and the server's times are others")
        answer = self._client.post(f"/api/v1/{path}", data={"query": query, **when}).json()
        if answer["status"] != "success":
            raise QueryFailedError(answer["error"])
        data = answer["data"]
        kind, result = data["resultType"], data["result"]
        remarks = [answer.get("warnings") or [], answer.get("infos") or []]
        match kind:
            case "string":
                return Answer(kind, [], result[1], *remarks)
            case "scalar":
                return Answer(kind, [({}, self._samples([result]))], "", *remarks)
            case "vector":
                return Answer(kind, [(one["metric"], self._samples([_only(one)])) for one in result], "", *remarks)
            case _:
                return Answer(kind, [(one["metric"], self._samples(_all(one))) for one in result], "", *remarks)

    def _samples(self, pairs: Sequence[tuple[float, str]]) -> dict[int, float | Histogram]:
        return {round(when * 1000) - self._base: float(value) for when, value in pairs}


def _only(one: dict[str, Any]) -> tuple[float, str]:
    if "histogram" in one:
        raise NotSupportedError("the HTTP API does not say all of a native histogram")
    when, value = one["value"]
    return when, value


def _all(one: dict[str, Any]) -> list[tuple[float, str]]:
    if "histograms" in one:
        raise NotSupportedError("the HTTP API does not say all of a native histogram")
    values: list[tuple[float, str]] = one["values"]
    return values
