"""Print what a data folder holds, as JSON: signal → service → items. A process of its own: a folder has one owner."""

import json
import sys
from pathlib import Path

from watchkeeper_server.store.embedded import EmbeddedEngine

# a series may be written twice, until parts merge
_OF_JOB = (
    "SELECT service, count() AS items FROM samples ANY LEFT JOIN (SELECT id, labels['job'] AS service FROM series) AS "
    "series USING (id) WHERE metric = '{}' GROUP BY service"
)
QUERIES = {
    "traces": "SELECT service, count() AS items FROM spans GROUP BY service",
    "logs": "SELECT service, count() AS items FROM logs GROUP BY service",
    "metrics": _OF_JOB.format("figure"),
    "samples": _OF_JOB.format("written"),
}

engine = EmbeddedEngine(Path(sys.argv[1]))
found = {
    signal: {row["service"]: row["items"] for row in engine.query(query).to_pylist()}
    for signal, query in QUERIES.items()
}
engine.close()
print(json.dumps(found))
