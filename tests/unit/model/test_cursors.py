import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.model.cursors import LogCursor, TraceCursor

times = st.integers(0, 2**63 - 2)


@given(times, st.integers(0, 2**64 - 1), st.integers(0, 10**9 - 1))
def test_a_log_cursor_survives_being_text(time_ns: int, tie: int, answered: int) -> None:
    cursor = LogCursor(time_ns, tie, answered)
    assert LogCursor.parse(str(cursor)) == cursor


@given(times, st.binary(min_size=16, max_size=16))
def test_a_trace_cursor_survives_being_text(time_ns: int, trace_id: bytes) -> None:
    cursor = TraceCursor(time_ns, trace_id.hex())
    assert TraceCursor.parse(str(cursor)) == cursor


@given(st.text())
def test_any_other_text_is_refused_by_both(text: str) -> None:
    for kind in (LogCursor, TraceCursor):
        with pytest.raises(ValueError, match="not a cursor"):
            kind.parse(text)


def test_one_kind_refuses_the_others_cursor() -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        TraceCursor.parse(str(LogCursor(1, 2, 3)))
    with pytest.raises(ValueError, match="not a cursor"):
        LogCursor.parse(str(TraceCursor(1, "ab" * 16)))


@pytest.mark.parametrize("cursor", [LogCursor(2**63, 0, 0), LogCursor(0, 2**64, 0)])
def test_numbers_beyond_what_the_store_holds_are_refused(cursor: LogCursor) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        LogCursor.parse(str(cursor))
