"""Labels that every series has when it leaves, such as a team or a region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.registry import Collector


class WithLabels(Collector):
    """What `inner` collects, with `labels` on each sample; a label that a sample has already stays as it is."""

    def __init__(self, inner: Collector, labels: Mapping[str, str]) -> None:
        self._inner = inner
        self._labels = dict(labels)

    def collect(self) -> Iterator[Metric]:
        """The families; those of the registry stay untouched."""
        for family in self._inner.collect():
            yield self._labelled(family) if self._labels else family

    def _labelled(self, family: Metric) -> Metric:
        labelled = Metric(family.name, family.documentation, family.type, family.unit)
        labelled.samples = [sample._replace(labels=self._labels | dict(sample.labels)) for sample in family.samples]
        return labelled
