"""The text of statements that are put together by the `sql` modules of psycopg and psycopg2."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from watchkeeper.databases.statements import MOST_CHARACTERS


def text_of_composed(sql: Any, context: Any, module: str) -> Any:
    """The beginning of the text; of what is put together otherwise, the object itself.

    Values are not asked for theirs: that is the driver's to do. `module` is the driver's, by name.
    """
    if not hasattr(sql, "as_string"):
        return sql
    text = ""
    try:
        for part in _parts(sql, sys.modules[module]):
            text += "''" if part is None else str(part.as_string(context))
            if len(text) > MOST_CHARACTERS:
                break
    except Exception:  # noqa: BLE001  # the application's mistake, which the driver is about to find too
        return ""
    return text


def _parts(sql: Any, module: Any) -> Iterator[Any]:
    """What a composed object is made of; None for each literal."""
    if isinstance(sql, module.Composed):
        for part in sql:
            yield from _parts(part, module)
    else:
        yield None if isinstance(sql, module.Literal) else sql
