"""Samples put into the store directly, in whichever segment a test wants them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from watchkeeper_server.store.engine import Engine

Points = Sequence[tuple[int, float]]
"""Of each sample its time, in milliseconds, and its value, bit for bit."""


def insert_samples(engine: Engine, points: Points, metric: str, id_: int, segment: int) -> None:
    """Store the samples of one series."""
    engine.execute(
        "INSERT INTO samples SELECT {metric:String}, {id:UInt64}, fromUnixTimestamp64Milli(point.1), "
        "reinterpretAsFloat64(point.2), {segment:UInt64} "
        "FROM (SELECT arrayJoin(arrayZip({times:Array(Int64)}, {bits:Array(UInt64)})) AS point)",
        {
            "metric": metric,
            "id": id_,
            "times": [time for time, _ in points],
            "bits": np.array([value for _, value in points]).view(np.uint64).tolist(),
            "segment": segment,
        },
    )
