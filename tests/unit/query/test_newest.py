from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.model.times import TimeRange
from watchkeeper_server.query.newest import newest_first

SECOND = 10**9
DAY = 86_400 * SECOND


@given(st.lists(st.integers(0, 30 * DAY - 1), max_size=30), st.integers(1, 40))
def test_the_newest_are_found_in_order_wherever_they_lie(times: list[int], wanted: int) -> None:
    def find(window: TimeRange, missing: int) -> list[int]:
        return sorted((one for one in times if window.start_ns <= one < window.end_ns), reverse=True)[:missing]

    assert newest_first(TimeRange(0, 30 * DAY), wanted, find) == sorted(times, reverse=True)[:wanted]


def test_plenty_is_answered_from_the_newest_seconds() -> None:
    windows = []

    def find(window: TimeRange, missing: int) -> list[int]:
        windows.append(window)
        return list(range(missing))

    newest_first(TimeRange(0, 30 * DAY), 100, find)
    assert windows == [TimeRange(30 * DAY - 10 * SECOND, 30 * DAY)]


def test_nothing_is_known_of_a_month_after_five_looks() -> None:
    windows: list[TimeRange] = []

    def find(window: TimeRange, _: int) -> list[int]:
        windows.append(window)
        return []

    assert newest_first(TimeRange(0, 30 * DAY), 100, find) == []
    assert len(windows) <= 5
    # every instant is looked at once
    assert [window.start_ns for window in windows[:-1]] == [window.end_ns for window in windows[1:]]
    assert (windows[-1].start_ns, windows[0].end_ns) == (0, 30 * DAY)
