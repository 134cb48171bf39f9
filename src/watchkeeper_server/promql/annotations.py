"""What the author of a query should know although it has an answer: each remark once, in the order they came."""

from __future__ import annotations

from watchkeeper_server.promql.tree import Span


class Annotations:
    """Collects remarks while a query is evaluated."""

    def __init__(self, query: str = "") -> None:
        """Nothing to remark yet; `query` is the text that spans point into."""
        self._query = query
        self._warnings: dict[str, None] = {}
        self._infos: dict[str, None] = {}

    def warn(self, text: str, span: Span | None = None) -> None:
        """The answer is probably not what was meant; `span` is what of the query is remarked upon."""
        self._warnings[text + self._place(span)] = None

    def inform(self, text: str, span: Span | None = None) -> None:
        """The answer may not be what was meant; `span` is what of the query is remarked upon."""
        self._infos[text + self._place(span)] = None

    def _place(self, span: Span | None) -> str:
        """` (LINE:COLUMN)`, both from 1, where the span starts."""
        if span is None or not self._query:
            return ""
        lines = self._query[: span.start].split("\n")
        return f" ({len(lines)}:{len(lines[-1]) + 1})"

    @property
    def warnings(self) -> list[str]:
        """What was warned of."""
        return list(self._warnings)

    @property
    def infos(self) -> list[str]:
        """What was informed of."""
        return list(self._infos)
