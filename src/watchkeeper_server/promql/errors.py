"""What can be wrong with a query, in Prometheus' own kinds."""

from __future__ import annotations

from watchkeeper_server.model.errors import WatchkeeperError


class QueryError(WatchkeeperError):
    """A query that has no answer."""


class InvalidQueryError(QueryError):
    """A query that is refused before it is evaluated: it cannot be asked like this."""


class ParseError(InvalidQueryError):
    """Not PromQL. The message is `LINE:COLUMN: parse error: …`, as Prometheus writes it."""

    def __init__(self, message: str, start: int, end: int) -> None:
        """`start` and `end` are characters of the query's text."""
        super().__init__(message)
        self.start, self.end = start, end


class ExecutionError(QueryError):
    """PromQL, but its evaluation failed: two series where one was expected, a bad argument."""


class TooManySamplesError(ExecutionError):
    """It would load more samples than allowed."""

    def __init__(self) -> None:
        """Say it as Prometheus does."""
        super().__init__("query processing would load too many samples into memory in query execution")


class TooManySeriesError(ExecutionError):
    """A selector selects more series than it may."""

    def __init__(self, most: int) -> None:
        """Say how many it may."""
        super().__init__(f"a selector selects more than {most:,} series, the most allowed; add matchers to it")


class QueryTimeoutError(QueryError):
    """It took longer than allowed."""


class QueryCanceledError(QueryError):
    """Whoever asked is gone."""
