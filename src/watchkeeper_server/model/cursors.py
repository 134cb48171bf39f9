"""Where a page of answers ended, as opaque text: the next one begins right after, whatever has arrived meanwhile."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Self

_MAX_UINT64 = 2**64 - 1
_TEXT = re.compile(r"(\d{1,19})\.(\d{1,20})\.(\d{1,9})", re.ASCII)
_TRACE_TEXT = re.compile(r"(\d{1,19})\.([0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogCursor:
    """After the last record of a page, by its time and a hash of its content.

    `answered` counts the equal records (same time, same hash) shown so far: any of them stands for the others.
    """

    time_ns: int
    tie: int
    answered: int

    def __str__(self) -> str:
        """The text a client passes back."""
        return _wrap(f"{self.time_ns}.{self.tie}.{self.answered}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cursor.

        Raises:
            ValueError: it was not made here.
        """
        match = _TEXT.fullmatch(_unwrap(text))
        if not match or int(match[1]) >= 2**63 or int(match[2]) > _MAX_UINT64:
            raise ValueError(_REFUSAL)
        return cls(*map(int, match.groups()))


@dataclass(frozen=True, slots=True)
class TraceCursor:
    """After the last trace of a page, by the time of its newest matching span."""

    time_ns: int
    trace_id: str

    def __str__(self) -> str:
        """The text a client passes back."""
        return _wrap(f"{self.time_ns}.{self.trace_id}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cursor.

        Raises:
            ValueError: it was not made here.
        """
        match = _TRACE_TEXT.fullmatch(_unwrap(text))
        if not match or int(match[1]) >= 2**63 - 1:
            raise ValueError(_REFUSAL)
        return cls(int(match[1]), match[2])


_REFUSAL = "this is not a cursor; pass on the `next` of the previous answer unchanged, or nothing for the first page"


def _wrap(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _unwrap(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise ValueError(_REFUSAL) from error
