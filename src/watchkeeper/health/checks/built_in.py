"""The checks that come by themselves. None is critical: each degrades the whole at worst."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from watchkeeper.health.checks.disk import Disk
from watchkeeper.health.checks.event_loop import EventLoop
from watchkeeper.health.checks.memory import Memory
from watchkeeper.health.checks.pipelines import Lane, Pipeline
from watchkeeper.health.registry import Check
from watchkeeper.health.results import HealthResult
from watchkeeper.logging.pipeline import pipeline
from watchkeeper.metrics.runtime import runtime


def built_in(names: Iterable[str], lanes: Mapping[str, Lane]) -> list[Check]:
    """The checks of these names (`options.BUILT_IN`); `lanes` are the export thread's, by signal."""
    checks: dict[str, Callable[[], Callable[[], HealthResult]]] = {
        "memory": Memory,
        "disk": Disk,
        "event_loop": lambda: EventLoop(runtime.loops.take_worst_lag),
        "metrics_pipeline": lambda: Pipeline("metrics", lanes),
        "log_pipeline": lambda: Pipeline("logs", lanes, lambda: pipeline.writers),
    }
    return [Check(name, checks[name](), kind="system") for name in names]
