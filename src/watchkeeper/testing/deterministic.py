"""Time and ids that tests can tell beforehand."""

from __future__ import annotations

from watchkeeper.clock import Clock


class FakeClock:
    """Both clocks stand still until `advance`.

    Example:
        >>> clock = testing.FakeClock()
        >>> with testing.capture(clock=clock.clock()) as seen:
        ...     with wk.span("bake"):
        ...         clock.advance(90)
        >>> (seen.span("bake").end_time - seen.span("bake").start_time) / 1e9
        90.0
    """

    def __init__(self, wall_ns: int = 1_800_000_000_000_000_000) -> None:
        self.wall_ns = wall_ns
        self.monotonic_ns = 1

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        passed = round(seconds * 1e9)
        self.wall_ns += passed
        self.monotonic_ns += passed

    def clock(self) -> Clock:
        """What the SDK reads."""
        return Clock(lambda: self.wall_ns, lambda: self.monotonic_ns)


class SequentialIds:
    """Ids 1, 2, 3 …, of traces and of spans.

    Example:
        >>> with testing.capture(ids=testing.SequentialIds()) as seen:
        ...     with wk.span("bake"):
        ...         pass
        >>> (seen.span("bake").trace_id, seen.span("bake").span_id)
        (1, 1)
    """

    def __init__(self) -> None:
        self._traces = self._spans = 0

    def trace_id(self) -> int:
        """The next trace's."""
        self._traces += 1
        return self._traces

    def span_id(self) -> int:
        """The next span's."""
        self._spans += 1
        return self._spans
