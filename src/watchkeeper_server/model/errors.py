"""The one root of this program's own errors. A message says what happened and what to do next."""


class WatchkeeperError(Exception):
    """Anything Watchkeeper itself raises."""
