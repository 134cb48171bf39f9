"""The one read path, for every surface: the JSON API, the command line and whatever comes after them."""

from __future__ import annotations

from watchkeeper_server.query.logs import LogQueries
from watchkeeper_server.query.metrics import MetricQueries
from watchkeeper_server.query.reader import Read
from watchkeeper_server.query.services import ServiceQueries
from watchkeeper_server.query.traces import TraceQueries


class Queries:
    """All questions that can be asked of what is stored. Any thread may ask; each question blocks until it is answered.

    Every method may raise StoreBusyError, when it asks for too much, and StoreError.
    """

    def __init__(self, read: Read) -> None:
        """`read` runs the store's named statements."""
        self.services = ServiceQueries(read)
        self.traces = TraceQueries(read)
        self.logs = LogQueries(read)
        self.metrics = MetricQueries(read)
