"""The one root of this program's own errors. A message says what happened and what to do next."""


class WatchkeeperError(Exception):
    """Anything Watchkeeper itself raises."""


class BacklogFullError(WatchkeeperError):
    """More is acknowledged and not yet stored than allowed; the sender should come back after `retry_seconds`."""

    def __init__(self, message: str, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class StoreError(WatchkeeperError):
    """The engine refused a statement; the message carries the engine's own words."""


class StoreBusyError(StoreError):
    """A statement ran over its time or memory limit; asking for less will work."""


class StoreTimeoutError(StoreBusyError):
    """A statement took longer than it may, or than whoever asked waits."""


class StoreUnavailableError(StoreError):
    """The data folder cannot be opened, read or written just now; the same statement may work later."""


class ParameterError(WatchkeeperError):
    """A question that cannot be asked like this; `field` names the parameter at fault."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class NotFoundError(WatchkeeperError):
    """What was asked for by name or id is not stored."""
