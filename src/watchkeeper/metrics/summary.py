"""Quantiles of what was observed lately: a sketch (DDSketch) per slice of time, merged when somebody looks.

A value a sketch gives is within one per cent of a true one. A slice is at most a thousand bins (from the greatest
value down over eight powers of ten; what is smaller counts as the smallest), so memory is bounded whatever is observed.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import prometheus_client as prometheus
from ddsketch import LogCollapsingLowestDenseDDSketch
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

QUANTILES = (0.5, 0.9, 0.99)
RELATIVE_ACCURACY = 0.01
WINDOW_SECONDS = 600.0
SLICES = 5  # the window is between eight and ten minutes: the newest slice is still filling
_BINS = 1_024


def _sketch() -> LogCollapsingLowestDenseDDSketch:
    return LogCollapsingLowestDenseDDSketch(RELATIVE_ACCURACY, _BINS)


class Window:
    """The values of the last ten minutes, from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock  # seconds that never jump
        self._slices: deque[tuple[int, LogCollapsingLowestDenseDDSketch]] = deque()
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        """Takes a value in; what is not finite has no place among the others."""
        if not math.isfinite(value):
            return
        with self._lock:
            number = self._forget()
            if not self._slices or self._slices[-1][0] != number:
                self._slices.append((number, _sketch()))
            self._slices[-1][1].add(value)

    def quantiles(self, wanted: Sequence[float]) -> list[float]:
        """The value at each quantile, NaN without values."""
        merged = _sketch()
        with self._lock:
            self._forget()
            for _, sketch in self._slices:
                merged.merge(sketch)
        found = [merged.get_quantile_value(quantile) for quantile in wanted]
        return [math.nan if value is None else value for value in found]

    def _forget(self) -> int:
        """Drops what is too old; the number of the slice that is now."""
        number = int(self._clock() * SLICES / WINDOW_SECONDS)
        while self._slices and self._slices[0][0] <= number - SLICES:
            self._slices.popleft()
        return number


class QuantileSummary(prometheus.Summary):
    """prometheus_client's summary, with quantiles. Count and sum are of all time, quantiles of the last ten minutes."""

    def __init__(
        self,
        *args: Any,
        quantiles: Sequence[float] = QUANTILES,
        clock: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        if not all(0.0 <= quantile <= 1.0 for quantile in quantiles):
            raise ValueError(f"quantiles are {quantiles}: each must be between 0 and 1")
        self._quantiles = tuple(quantiles)
        self._clock = clock
        super().__init__(*args, **kwargs)
        self._kwargs.update(quantiles=self._quantiles, clock=clock)  # what a series is made with

    def _metric_init(self) -> None:
        super()._metric_init()
        self._window = Window(self._clock)

    def observe(self, amount: float) -> None:
        """Takes a value in."""
        super().observe(amount)
        self._window.add(amount)

    def _child_samples(self) -> Iterable[Sample]:
        values = self._window.quantiles(self._quantiles)
        return [
            *(
                Sample("", {"quantile": floatToGoString(quantile)}, value)  # type: ignore[no-untyped-call]
                for quantile, value in zip(self._quantiles, values, strict=True)
            ),
            *super()._child_samples(),
        ]
