"""Print what a data folder holds, as JSON: signal → service → items. A process of its own: a folder has one owner."""

import json
import sys
from pathlib import Path

from watchkeeper_server.store.embedded import EmbeddedEngine

QUERIES = {
    "traces": "SELECT service, count() AS items FROM spans GROUP BY service",
    "logs": "SELECT service, count() AS items FROM logs GROUP BY service",
    "metrics": (
        "SELECT labels['job'] AS service, count() AS items FROM samples INNER JOIN series USING (metric, id) "
        "WHERE metric = 'figure' GROUP BY service"
    ),
}

engine = EmbeddedEngine(Path(sys.argv[1]))
found = {
    signal: {row["service"]: row["items"] for row in engine.query(query).to_pylist()}
    for signal, query in QUERIES.items()
}
engine.close()
print(json.dumps(found))
