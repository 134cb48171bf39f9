"""Print what a data folder holds of metrics, as JSON, bit by bit."""

import json
import sys
from pathlib import Path

from watchkeeper_server.store.embedded import EmbeddedEngine

QUERIES = {
    "exemplars": (
        "SELECT metric, toUnixTimestamp64Milli(time) AS ms, value, lower(hex(trace_id)) AS trace, "
        "lower(hex(span_id)) AS span, toJSONString(labels) AS labels FROM exemplars ORDER BY metric, time, value"
    ),
    "native_histograms": (
        "SELECT metric, toUnixTimestamp64Milli(time) AS ms, * EXCEPT (metric, id, time, segment) "
        "FROM native_histograms ORDER BY metric, time"
    ),
    "samples": "SELECT metric, value, hex(reinterpretAsUInt64(value)) AS bits FROM samples ORDER BY metric, id, time",
    "series": "SELECT DISTINCT metric, toJSONString(labels) AS labels FROM series",
    "metadata": "SELECT metric, CAST(type, 'String') AS type, unit, help FROM metric_metadata FINAL",
}

engine = EmbeddedEngine(Path(sys.argv[1]))
print(json.dumps({name: engine.query(query).to_pylist() for name, query in QUERIES.items()}))
engine.close()
