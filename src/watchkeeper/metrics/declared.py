"""What is declared already: by us, before, or by the application, which has prometheus_client too."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any, NamedTuple

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry
from prometheus_client import Metric as Family
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from watchkeeper.metrics.exemplars import ExemplarCounter

_PLAIN: Mapping[type[MetricWrapperBase], type[MetricWrapperBase]] = {
    ExemplarCounter: prometheus.Counter,
    prometheus.Gauge: prometheus.Gauge,
}


class Shape(NamedTuple):
    """How a metric was declared, and where."""

    kind: type[Any]
    label_names: tuple[str, ...]
    details: Mapping[str, Any]  # buckets, quantiles
    where: str

    def check(self, name: str, other: Shape) -> None:
        """Raises ValueError, which says what differs, if another declaration is not this one's."""
        found = [
            f"{what} {ours}, now {theirs}"
            for what, ours, theirs in (
                ("as a", self.kind.__name__.lower(), other.kind.__name__.lower()),
                ("with labels", self.label_names, other.label_names),
                *((f"with {key}", self.details.get(key), other.details.get(key)) for key in self.details),
            )
            if ours != theirs
        ]
        if found:
            where = f", at {self.where}," if self.where else ""
            raise ValueError(f"metric {name} was declared before{where} {'; '.join(found)}: this one counts nowhere")


class Unclaimed(Collector):
    """Shows what `inner` has in `outer`, but for names that somebody else registered there."""

    def __init__(self, inner: CollectorRegistry, outer: CollectorRegistry) -> None:
        self._inner = inner
        self._outer = outer

    def collect(self) -> Iterable[Family]:
        """All that is not somebody else's."""
        taken = self._outer._names_to_collectors  # noqa: SLF001  # the only place that tells
        return [family for family in self._inner.collect() if family.name not in taken]

    def describe(self) -> Iterable[Family]:
        """No names, so that whoever wants one may have it."""
        return ()


def declared_at() -> str:
    """The application's line that declares a metric, such as `/srv/shop/orders.py:12`; empty if there is none."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # inspect's way takes a thousand times as long
    while frame is not None and frame.f_globals.get("__name__", "").startswith("watchkeeper."):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def registered(
    registry: CollectorRegistry, make: type[MetricWrapperBase], name: str, labels: tuple[str, ...]
) -> MetricWrapperBase | None:
    """The counter or gauge of that name that the application made by prometheus_client: both count in it then."""
    found: Any = registry._names_to_collectors.get(name)  # noqa: SLF001  # the only place that tells
    if found is None or type(found) is not _PLAIN.get(make) or found._labelnames != labels:  # noqa: SLF001
        return None
    known: MetricWrapperBase = found
    return known if name in {known._name, f"{known._name}_total"} else None  # noqa: SLF001
