"""Bring one kind's segments to the store for ever: retry what may pass, isolate what never will.

Guarantees: a segment is discarded only after the store has it. A failure that may pass (no space, say) is retried with
growing pauses while the backlog holds new payloads. Any other failure halves the segment until the payload at fault
stands alone; what can be mended of that one is tried again, else it goes to the quarantine folder with the error beside
it, and everything else goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from watchkeeper_server.journal.journal import Journal
from watchkeeper_server.journal.segment import Segment, payloads, write_durably
from watchkeeper_server.model.errors import StoreBusyError, StoreError, StoreUnavailableError
from watchkeeper_server.model.kinds import Kind

_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 10.0
_LOOK_SECONDS = 0.5


class DrainEvents(Protocol):
    """What a drain tells whoever watches over it."""

    def loaded(self, kind: Kind, segment: Segment) -> None:
        """A segment is stored and searchable."""

    def delayed(self, kind: Kind, error: Exception) -> None:
        """A segment could not be stored just now; it will be tried again."""

    def quarantined(self, kind: Kind, path: Path, error: StoreError) -> None:
        """A payload can never be stored; it lies at `path`, the error beside it."""


class Drain:
    """Threads that drain one kind: one keeps the order of segments, more use more cores."""

    def __init__(
        self,
        kind: Kind,
        journal: Journal,
        load: Callable[[Kind, Segment], None],
        mend: Callable[[Kind, bytes], bytes],
        quarantine: Path,
        events: DrainEvents,
        workers: int,
    ) -> None:
        """What to do with segments.

        Args:
            kind: what is drained.
            journal: where from.
            load: stores a segment, all of it or, with an error, some of it; may be called again for the same one.
            mend: a payload that cannot be stored, without what nobody reads; itself if there is no such thing.
            quarantine: the folder for what can never be stored.
            events: told what happens.
            workers: how many threads.
        """
        self._kind = kind
        self._journal = journal
        self._load = load
        self._mend = mend
        self._quarantine = quarantine
        self._events = events
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"drain-{kind}-{i}", daemon=True) for i in range(workers)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more segments; what is left stays in the journal. Idempotent."""
        self._stopping.set()

    def join(self) -> None:
        """Wait, after `stop`, until the segments in hand are done with."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _run(self) -> None:
        pause_seconds = _SHORTEST_PAUSE_SECONDS
        while not self._stopping.is_set():
            segment = self._journal.next_segment(self._kind, _LOOK_SECONDS)
            if segment is None:
                continue
            try:
                self._store(segment)
            except Exception as error:  # noqa: BLE001  whatever it is, the segment is safe in the journal
                self._journal.put_back(self._kind, segment)
                self._events.delayed(self._kind, error)
                self._stopping.wait(pause_seconds)
                pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
            else:
                pause_seconds = _SHORTEST_PAUSE_SECONDS

    def _store(self, segment: Segment) -> None:
        try:
            self._load(self._kind, segment)
        except StoreUnavailableError:
            raise
        except StoreBusyError:  # too much at once, but nothing wrong with it
            if not self._journal.split(self._kind, segment):
                raise
        except StoreError as error:
            if not self._journal.split(self._kind, segment) and not self._mended(segment):
                self._set_aside(segment, error)
        else:
            self._events.loaded(self._kind, segment)
            self._journal.discard(self._kind, segment)

    def _mended(self, segment: Segment) -> bool:
        contents = list(payloads(segment.path))
        if len(contents) != 1:
            return False
        mended = self._mend(self._kind, contents[0])
        if mended != contents[0]:
            self._journal.rewrite(self._kind, segment, mended)
        return mended != contents[0]

    def _set_aside(self, segment: Segment, error: StoreError) -> None:
        self._quarantine.mkdir(parents=True, exist_ok=True)
        contents = list(payloads(segment.path))
        if len(contents) == 1:
            path = self._quarantine / f"{self._kind}-{segment.number}.pb"
            write_durably(path, contents[0])
        else:  # damaged on disk: kept as it is
            path = self._quarantine / f"{self._kind}-{segment.number}.segment"
            write_durably(path, segment.path.read_bytes())
        path.with_suffix(".error").write_text(f"{error}\n")
        self._events.quarantined(self._kind, path, error)
        self._journal.discard(self._kind, segment)
