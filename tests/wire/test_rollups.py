"""A server goes on answering of samples it no longer has."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from support.remote_write import request_v1, snappy
from support.server import ServerProcess, eventually

DAY = 86_400_000
QUERY = "sum(increase(requests_total[1h]))"


def ask(server: ServerProcess, start_ms: int, **more: Any) -> tuple[list[Any], list[str]]:
    asked = {"query": QUERY, "start": start_ms / 1000 + 7200, "end": start_ms / 1000 + 36_000, "step": 3600}
    answer = server.get("/api/v1/query_range", **asked, **more).json()
    return answer["data"]["result"], answer.get("infos", [])


def test_samples_past_retention_are_answered_of_rollups(tmp_path: Path) -> None:
    midnight = (time.time_ns() // 1_000_000 // DAY - 4) * DAY
    points = [(midnight + 7_000 + i * 15_000, float(i % 1000)) for i in range(3000)]
    headers = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
    with ServerProcess(tmp_path / "data") as server:
        series = [({"__name__": "requests_total", "i": str(i)}, points) for i in range(3)]
        assert server.request("POST", "/api/v1/write", snappy(request_v1(*series)), headers).status == 204
        server.wait_drained()
        exact, infos = ask(server, midnight)
        assert exact
        assert infos == []
        server.stop()
        server.start()  # what is due is rolled up at once
        eventually(lambda: ask(server, midnight, max_source_resolution="5m")[1] or None)
        assert ask(server, midnight, max_source_resolution="5m")[0] == exact
        assert ask(server, midnight) == (exact, [])
    with ServerProcess(tmp_path / "data", retention="metrics=2d") as server:
        eventually(lambda: ask(server, midnight)[1] or None)
        rolled_up, [info] = ask(server, midnight)
        assert rolled_up == exact
        assert info.startswith("PromQL info: samples before ")
        assert "are rollups of 1 hour" in info
