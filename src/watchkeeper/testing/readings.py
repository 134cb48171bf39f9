"""Reading metrics as `/metrics` would show them, and what has been added since an earlier reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from watchkeeper.metrics.declare import declarations

Reading = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]
"""(a sample's name, its labels in order) -> its value"""


def read() -> Reading:
    """Everything that is registered in this process."""
    return {(name, labels): value for name, labels, value in _samples()}


def value_of(name: str, labels: Mapping[str, str]) -> float | None:
    """The sample of that name with exactly these labels; None if there is none."""
    wanted = tuple(sorted(labels.items()))
    return next((value for each, found, value in _samples() if each == name and found == wanted), None)


def increases(before: Reading, name: str, labels: Mapping[str, str]) -> dict[tuple[tuple[str, str], ...], float]:
    """By its labels, what each sample of that name with these labels (and any others) has grown by."""
    wanted = labels.items()
    return {
        found: value - before.get((name, found), 0.0)
        for each, found, value in _samples()
        if each == name and wanted <= dict(found).items()
    }


def _samples() -> Iterator[tuple[str, tuple[tuple[str, str], ...], float]]:
    for family in declarations.registry.collect():
        for sample in family.samples:
            yield sample.name, tuple(sorted(sample.labels.items())), sample.value
