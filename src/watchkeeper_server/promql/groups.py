"""The groups that an aggregation makes of a vector's series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from watchkeeper_server.promql import labels as label_sets
from watchkeeper_server.promql.tree import Aggregation
from watchkeeper_server.promql.values import METRIC_NAME, Bools, Floats, Ints, Labels, Matrix


@dataclass(frozen=True, slots=True)
class Groups:
    """Which rows of `matrix` belong together: all rows, sorted by group and else as before, and where groups start."""

    matrix: Matrix
    labels: list[Labels]
    rows: Ints
    starts: Ints

    @property
    def sizes(self) -> Ints:
        """How many rows each has."""
        return np.diff(np.append(self.starts, len(self.rows)))

    @property
    def counts(self) -> Ints:
        """How many rows of each have a float at each step."""
        present = floats_in(self.matrix)
        if present.all():
            return np.repeat(self.sizes[:, None], present.shape[1], axis=1)
        counts: Ints = np.add.reduceat(present[self.rows], self.starts, axis=0, dtype=np.int64)
        return counts

    def spread(self, of_groups: Floats | Ints) -> Floats | Ints:
        """For each of the matrix' rows that of its group."""
        rows = np.empty(len(self.rows), np.int64)
        rows[self.rows] = np.repeat(np.arange(len(self.starts)), self.sizes)
        return of_groups[rows]

    @property
    def slices(self) -> list[Ints]:
        """The rows of each."""
        return np.split(self.rows, self.starts[1:])


def grouped(node: Aggregation, matrix: Matrix) -> Groups:
    """The groups of all rows."""
    number, count = label_sets.grouped(matrix.labels, node.grouping, on=not node.without)
    rows = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[rows], np.arange(count))
    firsts = [matrix.labels[row] for row in rows[starts].tolist()]
    if node.without:
        names = {*node.grouping, METRIC_NAME}
        return Groups(matrix, [label_sets.without(each, names) for each in firsts], rows, starts)
    return Groups(matrix, [label_sets.keep(each, node.grouping) for each in firsts], rows, starts)


def floats_in(matrix: Matrix) -> Bools:
    """Where there is a float."""
    return matrix.present if matrix.histogram_of is None else matrix.present & (matrix.histogram_of < 0)
