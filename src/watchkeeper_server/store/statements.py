"""SQL by name: each file of `sql/` is one statement, each of `schema/` one migration.

A line of a statement that ends in `-- if given` is left out when one of its parameters is None: what is not asked for
is not analysed either, which for a statement of many conditions takes as long as answering it. A name may end in a dot
and a word, which takes the place of `${variant}`: for names of functions and tables, which no parameter can stand for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

_PACKAGE = files("watchkeeper_server.store")
# what is too long to repeat in every table
_SHARED = {
    "attributes": "Map(LowCardinality(String), String)",
    "types": (
        "Map(LowCardinality(String), Enum8('absent' = 0, 'string' = 1, 'bool' = 2, 'int' = 3, "
        "'double' = 4, 'array' = 5, 'map' = 6, 'bytes' = 7))"
    ),
    # A part is on disk when its insert or merge returns; therefore the parts a merge replaced can go at once.
    "durable": (
        "fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 10"
    ),
}


_OPTIONAL = "-- if given"
_PARAMETERS = re.compile(r"{(\w+):")


@cache
def statement(name: str) -> str:
    """The statement in `sql/<name>.sql`; of `name.variant`, the one that has `${variant}` in it."""
    file, _, variant = name.partition(".")
    return (_PACKAGE / "sql" / f"{file}.sql").read_text().replace("${variant}", variant)


def statement_for(name: str, parameters: Mapping[str, Any]) -> str:
    """The statement, without what those of its parameters that are None would restrict."""
    return _without(name, frozenset(key for key, value in parameters.items() if value is None))


@cache
def _without(name: str, absent: frozenset[str]) -> str:
    lines = statement(name).splitlines()
    return "\n".join(
        line for line in lines if not (line.endswith(_OPTIONAL) and absent.intersection(_PARAMETERS.findall(line)))
    )


@cache
def migrations() -> dict[str, list[str]]:
    """Migrations in order: name → statements. A semicolon at a line's end closes a statement."""
    found = {}
    for path in sorted((_PACKAGE / "schema").iterdir(), key=lambda path: path.name):
        if path.name.endswith(".sql"):
            text = Template(path.read_text()).safe_substitute(_SHARED)
            found[path.name.removesuffix(".sql")] = [part for part in map(str.strip, text.split(";\n")) if part]
    return found
