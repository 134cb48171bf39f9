"""What evaluating any part of a query needs to know besides its operands."""

from __future__ import annotations

from dataclasses import dataclass

from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.tree import Span
from watchkeeper_server.promql.values import Steps


@dataclass(frozen=True, slots=True)
class Context:
    """The evaluation of one node.

    `steps` are the instants (inside a subquery its own), `span` is where in the query the node was written, `arguments`
    where each of its arguments was.
    """

    steps: Steps
    annotations: Annotations
    span: Span
    arguments: tuple[Span, ...] = ()
