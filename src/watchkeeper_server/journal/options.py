"""The journal's options."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """Limits of the journal.

    Attributes:
        backlog_bytes: acknowledged but not yet stored; past it receivers answer "later".
        segment_bytes: a segment is sealed at this size: one load decodes one segment in memory.
        linger_seconds: a segment younger than this waits for company, unless it is full.
    """

    backlog_bytes: int = 2048 * MIB
    segment_bytes: int = 24 * MIB
    linger_seconds: float = 0.5
