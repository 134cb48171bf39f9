"""What the server says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pyarrow as pa

from watchkeeper_server.condition import show_gauges
from watchkeeper_server.journal.journal import Journal
from watchkeeper_server.model.errors import StoreBusyError
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.storage import Storage
from watchkeeper_server.telemetry import Telemetry


class EmptyJournal:
    def backlog(self) -> dict[Kind, tuple[int, float]]:
        return {}


class BusyStorage:
    """None of its readers is free."""

    def read(self, name: str, _: Mapping[str, Any], *, own: bool = False) -> pa.Table:
        assert name == "read_table_sizes"
        if not own:
            raise StoreBusyError("too many questions are being answered; ask again in a while")
        return pa.table({"table": ["spans"], "bytes": [5]})


def test_the_sizes_of_tables_wait_for_no_reader() -> None:
    telemetry = Telemetry()
    show_gauges(telemetry, cast("Journal", EmptyJournal()), cast("Storage", BusyStorage()))
    assert telemetry.registry.get_sample_value("watchkeeper_stored_bytes", {"table": "spans"}) == 5
