"""How many items a large OTLP request holds, counted before it is decoded.

Decoded, an empty span of two bytes takes 350: 32 MiB of them would be 6 GB. So each level of the request is opened
with what it contains left as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.receive.prompb import Nested
from watchkeeper_server.receive.refusal import Reason, RefusedError

MOST_ITEMS = 1_000_000

# The fields that lead to the items, level by level: resources, scopes, items; of a metric its data and their points
_ITEMS = (("f1",), ("f2",), ("f2",))
_POINTS = (*_ITEMS, ("f5", "f7", "f9", "f10", "f11"), ("f1",))


def require_few_items(body: bytes, kind: Kind) -> None:
    """A request may hold so many items, scopes and resources together.

    Raises:
        RefusedError: it may not.
    """
    count, level = 0, [body]
    try:
        for fields in _POINTS if kind is Kind.METRICS else _ITEMS:
            level = _within(level, fields, MOST_ITEMS - count)
            count += len(level)
    except DecodeError:  # whoever decodes it all will say what is wrong
        return


def _within(parts: Sequence[bytes], fields: Sequence[str], most: int) -> list[bytes]:
    found: list[bytes] = []
    for part in parts:
        opened = Nested.FromString(part)
        for field in fields:
            contents = getattr(opened, field)
            if len(found) + len(contents) > most:
                raise RefusedError(
                    Reason.TOO_LARGE,
                    f"the request holds more than {MOST_ITEMS:,} items, the most allowed; send smaller batches",
                )
            found.extend(contents)
    return found
