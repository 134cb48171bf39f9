"""Resources: stored once, named by an id in every span and log record."""

from __future__ import annotations

from collections.abc import Iterable

from watchkeeper_server.model.answers import Resource
from watchkeeper_server.model.attributes import decode_attributes
from watchkeeper_server.query.reader import Read

_UNKNOWN = Resource(attributes={}, schema_url="", dropped_attributes_count=0)
_MOST_KEPT = 10_000


class Resources:
    """Reads resources and keeps them: an id is a hash of the content, so what it names never changes."""

    def __init__(self, read: Read) -> None:
        """`read` runs the store's named statements."""
        self._read = read
        self._kept: dict[str, Resource] = {}

    def get(self, ids: Iterable[str]) -> dict[str, Resource]:
        """Resources by id, an id being decimal text; one that is not stored is answered empty."""
        wanted = set(ids)
        kept = self._kept
        missing = sorted(wanted - kept.keys())
        if missing:
            rows = self._read("read_resources", {"ids": [int(id_) for id_ in missing]}).to_pylist()
            found = {
                row["resource_id"]: Resource(
                    attributes=decode_attributes(row["attribute_texts"], row["attribute_type_names"]),
                    schema_url=row["schema_url"],
                    dropped_attributes_count=row["dropped_attributes_count"],
                )
                for row in rows
            }
            kept = kept | found  # a new one: other threads may be reading the old
            self._kept = kept if len(kept) <= _MOST_KEPT else found
        return {id_: kept.get(id_, _UNKNOWN) for id_ in wanted}
