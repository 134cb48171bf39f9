"""Native histograms as text and as the HTTP API writes them."""

from __future__ import annotations

from typing import Any

from watchkeeper_server.promql.values import Histograms


def to_json(h: Histograms, row: int) -> dict[str, Any]:
    """`{"count": "4", "sum": "5", "buckets": [[0, "0.5", "1", "1"], …]}`; empty buckets are left out."""
    raise NotImplementedError


def to_text(h: Histograms, row: int) -> str:
    """`{count:4, sum:5, (0.5,1]:1, …}`; empty buckets are left out."""
    raise NotImplementedError
