"""JSON becomes protobuf, unless it would take too much to do so."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from watchkeeper_server.receive import otlp_json
from watchkeeper_server.receive.otlp_json import protobuf_from_json
from watchkeeper_server.receive.refusal import Reason, RefusedError


@pytest.mark.parametrize("part", ["[]", "{}"])
def test_very_many_parts_are_refused_before_they_are_decoded(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_json, "_MOST_BRACKETS", 100)
    assert protobuf_from_json(f'{{"x":[{",".join([part] * 98)}]}}'.encode(), ExportTraceServiceRequest) == b""
    with pytest.raises(RefusedError, match="more than 100 objects and arrays, the most allowed in JSON") as refused:
        protobuf_from_json(f'{{"x":[{",".join([part] * 99)}]'.encode(), ExportTraceServiceRequest)
    assert refused.value.reason is Reason.TOO_LARGE
