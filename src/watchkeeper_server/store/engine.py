"""What the store asks of a database engine: embedded ClickHouse today, a cluster tomorrow, the same SQL for both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from watchkeeper_server.store.wire import Message

Parameters = Mapping[str, Any]


class Engine(Protocol):
    """Runs SQL. Every method may be called from any thread; each call stands alone."""

    def execute(self, sql: str, parameters: Parameters | None = None) -> None:
        """Run a statement that answers nothing.

        Raises:
            StoreError: the statement failed.
        """

    def query(self, sql: str, parameters: Parameters | None = None, *, own: bool = False) -> pa.Table:
        """Run a query within the limits for readers and return its columns.

        The store's `own` questions, which loading waits for, do not stand in line behind everybody's. Any other has as
        much time as the thread's `model.patience` says, and ends when whoever asked has left.

        Raises:
            StoreTimeoutError: it took longer.
            StoreBusyError: the query ran over a limit.
            StoreError: any other failure.
        """

    def load(self, sql: str, segment: Path, message: Message, parameters: Parameters) -> None:
        """Run an `INSERT … SELECT … FROM $source`, where the source is a file of length-delimited protobuf messages.

        The rows of one segment reach each table in one block, so that a partition holds all of them or none.

        Raises:
            StoreUnavailableError: the disk, not the data, is at fault; try again.
            StoreError: nothing, or only some partitions, were stored.
        """

    def close(self) -> None:
        """Release the data; idempotent."""
