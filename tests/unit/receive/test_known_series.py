"""The memory of series is bounded, and what lives is what it keeps."""

from __future__ import annotations

import numpy as np
import pytest

from support.remote_write import NOW_MS, batch_of, checked, request_v1
from watchkeeper_server.receive import sample_batch
from watchkeeper_server.receive.known_series import KnownSeries
from watchkeeper_server.receive.sample_batch import SampleCheck


def known(lasts: list[int]) -> KnownSeries:
    series = KnownSeries()
    slots = np.array([series.add(1000 + i, 7 * i % len(lasts), b"name%d" % i) for i in range(len(lasts))])
    series.announce(slots, np.array(lasts) - 1, np.array(lasts))
    return series


def test_ended_series_are_forgotten_first_and_the_others_kept_as_they_were() -> None:
    lasts = [5, 9, 5, 9, 9, 5]
    reduced = known(lasts).reduced(3)
    assert reduced.find([1000 + i for i in range(6)], 6).tolist() == [-1, 0, -1, 1, 2, -1]
    slots = np.arange(3)
    assert reduced.ids(slots).tolist() == [1, 3, 4]
    assert reduced.names(slots) == b"name1name3name4"
    assert [part.tolist() for part in reduced.announced(slots)] == [[8, 8, 8], [9, 9, 9]]
    assert (len(reduced), reduced.name_bytes, reduced.longest_name) == (3, 15, 5)
    assert reduced.names_bytes(slots) == 15


def test_of_more_live_series_than_fit_the_same_are_kept_every_time() -> None:
    keys = [1000 + i for i in range(20)]
    kept = [np.flatnonzero(known([5] * 20).reduced(12).find(keys, 20) >= 0).tolist() for _ in range(2)]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 12


def test_a_reduced_memory_grows_again() -> None:
    series = known([1, 2]).reduced(0)
    assert [series.add(key, key, b"n") for key in range(5000)] == list(range(5000))
    assert series.ids(np.array([4999])).tolist() == [4999]


def test_past_its_bound_the_check_forgets_a_part_and_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_batch, "_SERIES_KNOWN", 100)
    monkeypatch.setattr(sample_batch, "_SERIES_KEPT", 75)
    check = SampleCheck(100)

    def announced(names: range) -> int:
        request = request_v1(*(({"__name__": f"m{i}"}, [(NOW_MS, 1.0)]) for i in names))
        verdict = checked(request.SerializeToString(), check=check)
        verdict.remember()
        return len(batch_of(verdict).series)

    assert announced(range(101)) == 101
    assert announced(range(50)) < 30  # half of them would be 25; all would be 50
    assert announced(range(101)) < 50


def test_long_names_do_not_grow_the_memory_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_batch, "_NAME_BYTES_KNOWN", 100_000)
    check = SampleCheck(100)
    for i in range(300):
        request = request_v1(({"__name__": f"{i:04}" * 1000}, [(NOW_MS, 1.0)]))
        checked(request.SerializeToString(), check=check).remember()
    assert check._known.name_bytes < 110_000
