"""What evaluating any part of a query needs to know besides its operands."""

from __future__ import annotations

from dataclasses import dataclass

from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.errors import TooManySamplesError
from watchkeeper_server.promql.tree import Span
from watchkeeper_server.promql.values import Steps


@dataclass(frozen=True, slots=True)
class Context:
    """The evaluation of one node.

    `steps` are the instants (inside a subquery its own), `span` is where in the query the node was written, `arguments`
    where each of its arguments was, `most_cells` how large a matrix may be, whatever of it is present.
    """

    steps: Steps
    annotations: Annotations
    span: Span
    arguments: tuple[Span, ...] = ()
    most_cells: int = 20_000_000

    def require_room(self, rows: int) -> None:
        """So many rows, at each step, may be.

        Raises:
            TooManySamplesError: they may not.
        """
        if rows * self.steps.count > self.most_cells:
            raise TooManySamplesError
