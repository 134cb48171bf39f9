"""Samplers: which traces are kept. Each is a function of the trace id and of the parent's own decision.

Names and meaning are OpenTelemetry's (https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampling).
"""

from __future__ import annotations

from collections.abc import Callable

from watchkeeper.options import TraceOptions

# (trace id, whether the parent is sampled, or None without a parent) → keep
Sampler = Callable[[int, "bool | None"], bool]

_LOW_64_BITS = 2**64 - 1


def always_on(_trace_id: int, _parent: bool | None) -> bool:
    """Keeps everything."""
    return True


def always_off(_trace_id: int, _parent: bool | None) -> bool:
    """Keeps nothing."""
    return False


def ratio(share: float) -> Sampler:
    """Keeps `share` (0 to 1) of all traces, the same ones in every process: the id's low 64 bits decide."""
    bound = round(share * 2**64)

    def keep(trace_id: int, _parent: bool | None) -> bool:
        return (trace_id & _LOW_64_BITS) < bound

    return keep


def parent_based(root: Sampler) -> Sampler:
    """Follows the parent; asks `root` where there is none."""

    def keep(trace_id: int, parent: bool | None) -> bool:
        return root(trace_id, None) if parent is None else parent

    return keep


def sampler_of(options: TraceOptions) -> Sampler:
    """The sampler that OTEL_TRACES_SAMPLER names."""
    name = options.sampler.removeprefix("parentbased_")
    root = {"always_on": always_on, "always_off": always_off}.get(name) or ratio(options.ratio)
    return root if name == options.sampler else parent_based(root)
