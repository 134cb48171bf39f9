"""Label values for requests that no route took: paths, with what varies in them replaced, and of a bounded number."""

from __future__ import annotations

import re

from watchkeeper.tracing.http import UNMATCHED

MOST_PATHS = 100  # of a process; beyond that a path is one of those who try what might be there
_LONGEST = 200  # characters
_SUCCESS = range(200, 300)
_IDS = re.compile(
    r"(?<=/)(?:"
    r"(?P<uuid>[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12})"
    r"|\d+"
    r"|(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{16,}"
    r")(?=/|$)"
)


def normalised(path: str) -> str:
    """`/orders/7/items/<uuid>` as `/orders/{id}/items/{uuid}`: numbers and long hexadecimal parts are ids."""
    return _IDS.sub(lambda found: "{uuid}" if found["uuid"] else "{id}", path)


class UnmatchedPaths:
    """The label of a request without a route.

    An application need not have a router, so a path that was answered with success is told by its normalised form, from
    then on whatever the answer. Everything else is `unmatched`, and so is what comes after a hundred such paths: those
    who scan for holes fill no memory, and push no route over the label limit.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()

    def label(self, path: str, status: int) -> str:
        """The label for a request to `path` that was answered with `status`."""
        if len(path) > _LONGEST:
            return UNMATCHED
        found = normalised(path) or "/"
        if found not in self._known:
            if status not in _SUCCESS or len(self._known) >= MOST_PATHS:
                return UNMATCHED
            self._known.add(found)
        return found
