"""What is asked of a series' labels costs one pass over them, and a small request does not grow beyond measure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from support.counted import Counted
from support.remote_write import BOUNDS, NOW_MS, SymbolTable, checked, request_v1, request_v2
from watchkeeper_server.receive import sample_batch
from watchkeeper_server.receive.exposition.write_request import field
from watchkeeper_server.receive.refusal import Reason, RefusedError
from watchkeeper_server.receive.remote_write_v1 import decode_v1
from watchkeeper_server.receive.remote_write_v2 import decode_v2
from watchkeeper_server.receive.sample_batch import SampleCheck, Sent

LONG = {"__name__": "m" * 60_000}


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


def samples(make: Callable[..., Any]) -> Any:
    return make((LONG, [(NOW_MS + i, 1.0) for i in range(5000)]))


def exemplars(make: Callable[..., Any]) -> Any:
    request = make((LONG, [(NOW_MS, 1.0)]))
    for i in range(2500):
        request.timeseries[0].exemplars.add(timestamp=NOW_MS + i)
    return request


def histograms(make: Callable[..., Any]) -> Any:
    request = make((LONG, [(NOW_MS, 1.0)]))
    for i in range(2500):
        request.timeseries[0].histograms.add(timestamp=NOW_MS + i)
    return request


@pytest.mark.parametrize("items", [samples, exemplars, histograms])
@pytest.mark.parametrize(("make", "decode"), [(request_v1, decode_v1), (request_v2, decode_v2)])
def test_a_long_name_of_very_many_items_is_refused(items: Any, make: Any, decode: Any) -> None:
    body = items(make).SerializeToString()
    assert len(body) < 200_000
    with pytest.raises(RefusedError, match="names and texts of the request, written out") as refused:
        checked(body, decode)
    assert refused.value.reason is Reason.TOO_LARGE


def test_symbols_of_very_many_exemplars_or_metadata_are_refused() -> None:
    symbols = SymbolTable()
    labels = symbols.refs({f"l{i}": "x" * 60_000 for i in range(100)})
    request = request_v2(({"__name__": "m"}, [(NOW_MS, 1.0)]), symbols=symbols)
    for _ in range(30):
        request.timeseries[0].exemplars.add(timestamp=NOW_MS, labels_refs=labels)
    with pytest.raises(RefusedError, match="names and texts of the request, written out"):
        checked(request.SerializeToString(), decode_v2)
    symbols = SymbolTable()
    help_ref = symbols.ref("x" * 1_000_000)
    request = request_v2(*(({"__name__": f"m{i}"}, [(NOW_MS, 1.0)]) for i in range(150)), symbols=symbols)
    for series in request.timeseries:
        series.metadata.help_ref = help_ref
    with pytest.raises(RefusedError, match="names and texts of the request, written out"):
        checked(request.SerializeToString(), decode_v2)


@pytest.mark.parametrize(("make", "decode"), [(request_v1, decode_v1), (request_v2, decode_v2)])
def test_a_series_of_ever_so_many_labels_is_not_looked_at(make: Any, decode: Any) -> None:
    request = make(([("__name__", "m"), *[("", "")] * 100_000], [(NOW_MS, 1.0)]))
    with pytest.raises(RefusedError, match="a series of the request has 100,001 labels, too many to look at"):
        checked(request.SerializeToString(), decode)


def test_metadata_and_labels_of_exemplars_are_items_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_batch, "MOST_ITEMS", 100)
    metadata = field(3, field(2, b"m"))
    assert checked(metadata * 100).payload
    labels = [("l", "x")] * 90
    v1, v2 = (make(({"__name__": "m"}, [(NOW_MS, 1.0)])) for make in (request_v1, request_v2))
    v2.timeseries[0].exemplars.add(labels_refs=[0, 0] * len(labels))
    exemplar = v1.timeseries[0].exemplars.add()
    for name, value in labels:
        exemplar.labels.add(name=name, value=value)
    bodies = [(metadata * 101, decode_v1), (v1.SerializeToString(), decode_v1), (v2.SerializeToString(), decode_v2)]
    for body, decode in bodies:
        with pytest.raises(RefusedError, match="holds more series and samples than can be taken at once"):
            checked(body, decode)
