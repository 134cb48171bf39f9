"""What is asked of a series' labels costs one pass over them."""

from __future__ import annotations

import numpy as np

from support.counted import Counted
from support.remote_write import BOUNDS, NOW_MS
from watchkeeper_server.receive.sample_batch import SampleCheck, Sent


def test_a_label_that_is_there_twice_is_found_in_one_pass() -> None:
    labels = [("__name__", "m"), *((Counted(f"a{i % 2999}"), "x") for i in range(3000))]
    sent = Sent(
        keys=[1],
        slots=np.array([-1]),
        labels=lambda _: labels,
        encoded=lambda _: b"",
        sample_series=np.array([0]),
        times=np.array([NOW_MS]),
        values=np.array([1.0]),
    )
    Counted.comparisons = 0
    verdict = SampleCheck(10_000).check(lambda _: sent, BOUNDS)
    assert (verdict.samples, verdict.rejected) == (0, 1)
    assert "label 'a0' is there twice" in verdict.message
    assert Counted.comparisons < 10 * len(labels)
