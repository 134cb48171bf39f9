"""Print the exemplars and native histograms in a data folder, which the API does not show yet, as JSON."""

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
}

engine = EmbeddedEngine(Path(sys.argv[1]))
print(json.dumps({name: engine.query(query).to_pylist() for name, query in QUERIES.items()}))
engine.close()
