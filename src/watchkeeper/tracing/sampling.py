"""Samplers: which traces are kept. Each is a function of the trace id and of the parent's own decision.

Names and meaning are OpenTelemetry's (https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampling); `ratelimited` is
Jaeger's limit of traces per second, `adaptive` holds a budget of spans per second (what it keeps besides is
`undecided`'s matter).
"""

from __future__ import annotations

from collections.abc import Callable

from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.options import TraceOptions

# (trace id, whether the parent is sampled, or None without a parent, whether the parent is another process's) → keep
Sampler = Callable[[int, "bool | None", bool], bool]

DEBT_SECONDS = 10  # at most so long does a bucket pay for what was kept beyond it
_LOW_64_BITS = 2**64 - 1


def always_on(_trace_id: int, _parent: bool | None, _remote: bool) -> bool:
    """Keeps everything."""
    return True


def always_off(_trace_id: int, _parent: bool | None, _remote: bool) -> bool:
    """Keeps nothing."""
    return False


def ratio(share: float) -> Sampler:
    """Keeps `share` (0 to 1) of all traces, the same ones in every process: the id's low 64 bits decide."""
    bound = round(share * 2**64)

    def keep(trace_id: int, _parent: bool | None, _remote: bool) -> bool:
        return (trace_id & _LOW_64_BITS) < bound

    return keep


def parent_based(root: Sampler) -> Sampler:
    """Follows the parent; asks `root` where there is none."""

    def keep(trace_id: int, parent: bool | None, remote: bool) -> bool:
        return root(trace_id, None, remote) if parent is None else parent

    return keep


class Bucket:
    """A token bucket that holds one second's worth, and at least one token.

    It has no lock, so that a fork cannot leave one taken: two threads that meet in it may spend a token too few.
    """

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._per_nanosecond = per_second / 1e9
        self._capacity = max(1.0, per_second)
        self._tokens = self._capacity
        self._now = clock.monotonic_ns
        self._filled_at = self._now()

    def take(self) -> bool:
        """Takes a token, if there is a whole one."""
        now = self._now()
        tokens = min(self._capacity, self._tokens + max(0, now - self._filled_at) * self._per_nanosecond)
        self._filled_at = now
        taken = tokens >= 1 and self._per_nanosecond > 0
        self._tokens = tokens - 1 if taken else tokens
        return taken

    def spend(self, tokens: int) -> None:
        """Takes tokens that must be had, on credit where there are none."""
        self._tokens = max(self._tokens - tokens, -DEBT_SECONDS * self._capacity)


class RateLimited:
    """Keeps so many traces a second. Decided where a trace enters this process; what is below follows.

    `follows_callers`: a caller's decision stands, and only traces that begin here are counted.
    """

    def __init__(self, traces_per_second: float, clock: Clock, *, follows_callers: bool) -> None:
        self._bucket = Bucket(traces_per_second, clock)
        self._follows_callers = follows_callers

    def __call__(self, _trace_id: int, parent: bool | None, remote: bool) -> bool:
        """The decision."""
        if parent is not None and (self._follows_callers or not remote):
            return parent
        return self._bucket.take()


class Adaptive:
    """Keeps traces as long as their spans stay within so many a second: every kept span takes a token.

    The share that is kept follows from the load. A kept trace is kept whole, though it overdraws the bucket; traces
    wait until that is paid. `Undecided` watches the traces that are not kept here.
    """

    def __init__(self, spans_per_second: float, slow_seconds: float, clock: Clock, *, follows_callers: bool) -> None:
        self.bucket = Bucket(spans_per_second, clock)
        self.slow_seconds = slow_seconds
        self._follows_callers = follows_callers

    def __call__(self, _trace_id: int, parent: bool | None, remote: bool) -> bool:
        """The decision."""
        if parent is None or (remote and not self._follows_callers):
            return self.bucket.take()
        if parent:
            self.bucket.spend(1)
        return parent


def sampler_of(options: TraceOptions, clock: Clock = SYSTEM_CLOCK) -> Sampler:
    """The sampler that OTEL_TRACES_SAMPLER names."""
    name = options.sampler.removeprefix("parentbased_")
    follows = name != options.sampler
    if name == "ratelimited":
        return RateLimited(options.traces_per_second, clock, follows_callers=follows)
    if name == "adaptive":
        return Adaptive(options.spans_per_second, options.slow_seconds, clock, follows_callers=follows)
    root = {"always_on": always_on, "always_off": always_off}.get(name) or ratio(options.ratio)
    return parent_based(root) if follows else root
