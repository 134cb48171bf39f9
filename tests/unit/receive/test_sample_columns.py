"""Samples out of batches, as they were put in."""

from __future__ import annotations

import numpy as np

from support.remote_write import request_v1
from watchkeeper_server.receive.exposition.write_request import field
from watchkeeper_server.receive.remote_write_v1 import decode_v1
from watchkeeper_server.receive.sample_batch import SampleCheck, TimeBounds
from watchkeeper_server.receive.sample_columns import sample_columns


def test_columns_are_those_of_all_batches() -> None:
    check = SampleCheck(most_labels=10)
    batches = []
    for time in (1_000, 2_000):
        request = request_v1(({"__name__": "a"}, [(time, 1.5)]), ({"__name__": "b"}, [(time, 2.5), (time + 1, 3.5)]))
        body = request.SerializeToString()
        batches.append(check.check(lambda known, body=body: decode_v1(body, known), TimeBounds(0, 10_000)).payload)
    ids, times, values = sample_columns(batches)
    assert times.tolist() == [1_000, 1_000, 1_001, 2_000, 2_000, 2_001]
    assert values.tolist() == [1.5, 2.5, 3.5] * 2
    assert ids.tolist() == [ids[0], ids[1], ids[1]] * 2
    assert ids[0] != ids[1]


def test_a_batch_without_samples_has_none() -> None:
    assert [len(column) for column in sample_columns([b"", field(5, b"a series")])] == [0, 0, 0]


def test_columns_may_follow_names() -> None:
    batch = field(1, b"m") * 2 + b"".join(field(i + 2, np.arange(2).tobytes()) for i in range(3))
    assert [column.tolist() for column in sample_columns([batch])][:2] == [[0, 1], [0, 1]]
