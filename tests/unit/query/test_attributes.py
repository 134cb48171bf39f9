"""Values from OTLP through the store to JSON: nothing is lost, whatever its type and however deep it lies."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.otlp import load, log_record, logs_request
from watchkeeper_server.model.attributes import decode_attributes, decode_value
from watchkeeper_server.model.filters import LogFilter
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.model.times import TimeRange
from watchkeeper_server.query.logs import LogQueries
from watchkeeper_server.store.store import Store

START = 1_795_240_800 * 10**9

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=12)
    | st.binary(max_size=12)
)
keys = st.text(st.characters(codec="utf-8"), max_size=6)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


def in_json(value: Any) -> Any:
    """The value as the API promises it."""
    match value:
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case float() if math.isnan(value):
            return {"$double": "NaN"}
        case float() if math.isinf(value):
            return {"$double": "Infinity" if value > 0 else "-Infinity"}
        case list():
            return [in_json(item) for item in value]
        case dict():
            return {key: in_json(item) for key, item in value.items()}
        case _:
            return value


def typed_text(value: Any) -> str:
    """Tells 1 from 1.0 and True, which are equal in Python."""
    return json.dumps(value, sort_keys=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attributes=st.dictionaries(keys, values, max_size=5), body=values)
def test_a_value_of_any_type_and_depth_arrives_as_it_was_sent(
    store: Store, tmp_path: Path, attributes: dict[str, Any], body: Any
) -> None:
    store._engine.execute("TRUNCATE TABLE logs")
    load(store, Kind.LOGS, tmp_path, logs_request([log_record(time=START, body=body, attributes=attributes)]))
    [record] = LogQueries(store.read).search(LogFilter(), TimeRange(START, START + 1), 1)["logs"]
    assert typed_text(record["attributes"]) == typed_text(in_json(attributes))
    assert typed_text(record["body"]) == typed_text(in_json(body))
    assert orjson.loads(orjson.dumps(record)) == record


def test_a_map_that_looks_like_the_stores_own_mark_is_left_alone() -> None:
    for text in ('{"$array": "no base64!"}', '{"$map": "AAAA"}', '{"$double": "soon"}', '{"$array": 1}'):
        assert decode_value(text, "map") == json.loads(text)


def test_attributes_without_types_are_strings() -> None:
    assert decode_attributes('{"a":"1","b":""}', "{}") == {"a": "1", "b": ""}


@pytest.mark.parametrize(("text", "value"), [("0.1", 0.1), ("1e22", 1e22), ("-0", -0.0), ("5e-324", 5e-324)])
def test_doubles_keep_every_bit(text: str, value: float) -> None:
    assert math.copysign(1, decode_value(text, "double")) == math.copysign(1, value)
    assert decode_value(text, "double") == value
