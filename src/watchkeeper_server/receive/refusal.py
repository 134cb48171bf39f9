"""Why a request is refused, in terms that every protocol can say in its own words."""

from __future__ import annotations

from enum import Enum

from watchkeeper_server.model.errors import WatchkeeperError

# A message may quote what was sent, which may be long.
_LONGEST_MESSAGE = 1000


class Reason(Enum):
    """HTTP's status, gRPC's code (https://grpc.io/docs/guides/status-codes/) and the name in metrics."""

    MALFORMED = (400, 3, "malformed")
    TIMED_OUT = (408, 1, "timed_out")
    TOO_LARGE = (413, 3, "too_large")
    UNSUPPORTED = (415, 3, "unsupported")
    BUSY = (503, 8, "backlog")
    CROWDED = (503, 8, "in_flight")

    def __init__(self, http_status: int, grpc_code: int, label: str) -> None:
        self.http_status = http_status
        self.grpc_code = grpc_code
        self.label = label


class RefusedError(WatchkeeperError):
    """A request is not taken; with `retry_seconds`, the same request may succeed after that long.

    `items` is how many it holds, 0 where that is not known.
    """

    def __init__(self, reason: Reason, message: str, retry_seconds: int | None = None, items: int = 0) -> None:
        super().__init__(message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}…")
        self.reason = reason
        self.retry_seconds = retry_seconds
        self.items = items
