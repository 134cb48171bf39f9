"""Resources: stored once, named by an id in every span and log record."""

from __future__ import annotations

from collections.abc import Iterable

from watchkeeper_server.model.answers import Resource
from watchkeeper_server.model.attributes import decode_attributes
from watchkeeper_server.query.reader import Read

UNKNOWN = Resource(attributes={}, schema_url="", dropped_attributes_count=0)


def read_resources(read: Read, ids: Iterable[str]) -> dict[str, Resource]:
    """Resources by id, an id being decimal text; one that is not stored is answered empty."""
    wanted = set(ids)
    rows = read("read_resources", {"ids": [int(id_) for id_ in wanted]}).to_pylist() if wanted else []
    return dict.fromkeys(wanted, UNKNOWN) | {
        row["resource_id"]: Resource(
            attributes=decode_attributes(row["attribute_texts"], row["attribute_type_names"]),
            schema_url=row["schema_url"],
            dropped_attributes_count=row["dropped_attributes_count"],
        )
        for row in rows
    }
