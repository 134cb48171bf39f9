"""The SDK's own ways out: whether metrics and log lines arrive. Degraded at worst, since requests do not need them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from watchkeeper.export.boundary import DROPPED
from watchkeeper.health.results import HealthResult, worst

FULL = 0.8  # of a queue
_NO_LOSS = frozenset({"label_limit"})  # reasons that are the application's choice and not the pipeline's failure


class Lane(Protocol):
    """What is looked at of a lane of the export thread."""

    @property
    def trouble(self) -> str:
        """Why the last delivery failed; empty once one has succeeded."""

    @property
    def fullness(self) -> float:
        """The share of its queue that is in use."""


class Buffer(Protocol):
    """What is looked at of a writer of lines."""

    @property
    def fullness(self) -> float:
        """The share of its buffer that is in use."""


class Pipeline:
    """One signal's ways out: its lanes (`logs`, `logs_loki` …), and what is written."""

    def __init__(
        self, signal: str, lanes: Mapping[str, Lane], buffers: Callable[[], Sequence[Buffer]] = lambda: ()
    ) -> None:
        self._signal = signal
        self._lanes = [lane for name, lane in lanes.items() if _is_of(name, signal)]
        self._buffers = buffers
        self._dropped = _dropped(signal)

    def __call__(self) -> HealthResult:
        """What does not arrive, waits, or was given up since the last look."""
        before, self._dropped = self._dropped, _dropped(self._signal)
        lost = {reason: count - before[reason] for reason, count in self._dropped.items() if count > before[reason]}
        fullest = max((lane.fullness for lane in self._lanes), default=0.0)
        found = [HealthResult(details={"exported": bool(self._lanes), "queue": round(fullest, 4)})]
        found += [
            _degraded(f"{self._signal} are not delivered: {lane.trouble}") for lane in self._lanes if lane.trouble
        ]
        if fullest >= FULL:
            found.append(_degraded(f"the queue of {self._signal} is {fullest:.0%} full"))
        if any(buffer.fullness >= FULL for buffer in self._buffers()):
            found.append(_degraded("lines are not written: nobody reads the stream, or the disk is too slow"))
        if lost:
            reasons = ", ".join(f"{count} {reason}" for reason, count in lost.items())
            found.append(_degraded(f"{self._signal} were dropped since the last check: {reasons}"))
        return worst(*found)


def _degraded(message: str) -> HealthResult:
    return HealthResult("degraded", message)


def _is_of(lane: str, signal: str) -> bool:
    return lane == signal or lane.startswith(f"{signal}_")


def _dropped(signal: str) -> Counter[str]:
    """How many items were given up, by reason, on all the signal's ways."""
    counts: Counter[str] = Counter()
    for family in DROPPED.collect():
        for sample in family.samples:
            reason = sample.labels["reason"]
            if sample.name.endswith("_total") and _is_of(sample.labels["signal"], signal) and reason not in _NO_LOSS:
                counts[reason] += int(sample.value)
    return counts
