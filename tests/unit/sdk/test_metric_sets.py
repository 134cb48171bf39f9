from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from watchkeeper.metrics import sets
from watchkeeper.metrics.computed import PerMinute, Ratios
from watchkeeper.metrics.declare import Counter, Declarations
from watchkeeper.metrics.exemplars import ExemplarCounter


def use_everything() -> None:
    sets.external_apis().call("payments", "POST /charges", "201", 0.2)
    sets.llms().call("anthropic", "m-1", "chat", "ok", 2.0)
    sets.llms().tokens("m-1", "input", 120)
    sets.llms().cost("m-1", 0.03)
    sets.mcp_tools().invocation("search", 0.1)
    sets.mcp_tools().invocation("search", 0.3, "TimeoutError")
    sets.mcp_tools().cached("search", hit=True)
    sets.mcp_tools().cached("search", hit=False)
    sets.database().query("SELECT", "orders", 0.002)
    sets.database().query("INSERT", "orders", 6.0, error_type="IntegrityError", slow=True)
    sets.database().n_plus_one("/orders")
    for result in ("hit", "hit", "hit", "miss"):
        sets.cache().operation("get", result)
    sets.cache().operation("set", "ok")
    sets.cache().state("default", entries=3, memory_bytes=4_096)
    sets.cache().evicted(2)
    sets.queues().message("mail", "process", "ok", 0.4)
    sets.queues().state("mail", depth=7, dead_letters=1)
    sets.queues().workers("busy", 2)
    sets.queues().retried("mail")
    sets.errors().error("database", "error")


EXPECTED = [
    ("external_api_calls_total", {"service": "payments", "operation": "POST /charges", "status": "201"}, 1),
    ("external_api_duration_seconds_sum", {"service": "payments", "operation": "POST /charges"}, 0.2),
    ("llm_calls_total", {"provider": "anthropic", "model": "m-1", "operation": "chat", "status": "ok"}, 1),
    ("llm_call_duration_seconds_sum", {"provider": "anthropic", "model": "m-1", "operation": "chat"}, 2),
    ("llm_tokens_total", {"model": "m-1", "type": "input"}, 120),
    ("llm_cost_usd_total", {"model": "m-1"}, 0.03),
    ("mcp_tool_invocations_total", {"tool": "search", "status": "ok"}, 1),
    ("mcp_tool_invocations_total", {"tool": "search", "status": "error"}, 1),
    ("mcp_tool_duration_seconds_count", {"tool": "search"}, 2),
    ("mcp_tool_errors_total", {"tool": "search", "type": "TimeoutError"}, 1),
    ("mcp_tool_cache_hits_total", {"tool": "search"}, 1),
    ("mcp_tool_cache_misses_total", {"tool": "search"}, 1),
    ("db_queries_total", {"operation": "SELECT", "table": "orders", "status": "ok"}, 1),
    ("db_query_duration_seconds_sum", {"operation": "INSERT", "table": "orders"}, 6),
    ("db_query_errors_total", {"operation": "INSERT", "table": "orders", "type": "IntegrityError"}, 1),
    ("db_slow_queries_total", {"operation": "INSERT", "table": "orders"}, 1),
    ("db_slow_queries_total", {"operation": "SELECT", "table": "orders"}, None),
    ("db_n_plus_one_total", {"route": "/orders"}, 1),
    ("cache_operations_total", {"operation": "get", "result": "hit"}, 3),
    ("cache_operations_total", {"operation": "set", "result": "ok"}, 1),
    ("cache_hits_total", {"cache": "default"}, 3),
    ("cache_misses_total", {"cache": "default"}, 1),
    ("cache_hit_ratio", {"cache": "default"}, 0.75),
    ("cache_size_entries", {"cache": "default"}, 3),
    ("cache_memory_usage_bytes", {"cache": "default"}, 4_096),
    ("cache_evictions_total", {"cache": "default"}, 2),
    ("queue_messages_total", {"queue": "mail", "action": "process", "status": "ok"}, 1),
    ("queue_processing_duration_seconds_sum", {"queue": "mail"}, 0.4),
    ("queue_depth", {"queue": "mail"}, 7),
    ("queue_dead_letters", {"queue": "mail"}, 1),
    ("queue_workers", {"state": "busy"}, 2),
    ("queue_retries_total", {"queue": "mail"}, 1),
    ("errors_total", {"category": "database", "severity": "error"}, 1),
    ("error_rate_per_minute", {}, 1),
]


@pytest.fixture(scope="module")
def used() -> Callable[[str, dict[str, str]], float | None]:
    before = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in REGISTRY.collect() for s in f.samples}
    use_everything()

    def grown(name: str, labels: dict[str, str]) -> float | None:
        value = REGISTRY.get_sample_value(name, labels)
        if value is None or not name.endswith(("_total", "_sum", "_count", "_per_minute")):
            return value
        return value - before.get((name, tuple(sorted(labels.items()))), 0)

    return grown


@pytest.mark.parametrize(("name", "labels", "value"), EXPECTED)
def test_each_metric_says_what_was_used(
    name: str, labels: dict[str, str], value: float | None, used: Callable[[str, dict[str, str]], float | None]
) -> None:
    assert used(name, labels) == (None if value is None else pytest.approx(value))


def test_a_set_that_is_not_used_is_not_there() -> None:
    program = (
        "import prometheus_client, watchkeeper.metrics.sets as sets\n"
        "def names(): return {f.name for f in prometheus_client.REGISTRY.collect()}\n"
        "before = names()\n"
        "sets.queues()\n"
        "print(sorted(names() - before), [n for n in before if n.startswith(('db_', 'llm_', 'cache_'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("['queue_dead_letters', 'queue_depth',")
    assert done.stdout.rstrip().endswith("[]")


def test_a_set_is_declared_once() -> None:
    assert sets.database() is sets.database()
    sets.Errors()
    sets.Cache()
    names = [family.name for family in REGISTRY.collect()]
    assert names.count("error_rate_per_minute") == names.count("cache_hit_ratio") == 1


def test_a_ratio_of_nothing_is_not_there() -> None:
    own = Declarations(CollectorRegistry())
    hits = own.declare(Counter, ExemplarCounter, "hits_total", "", ("cache",))
    misses = own.declare(Counter, ExemplarCounter, "misses_total", "", ("cache",))
    assert isinstance(hits, Counter)
    assert isinstance(misses, Counter)
    hits.labels("empty").inc(0)
    misses.labels("cold").inc(2)
    (family,) = Ratios("ratio", "", hits, misses).collect()
    assert [(sample.labels, sample.value) for sample in family.samples] == [({"cache": "cold"}, 0.0)]


def test_a_rate_forgets_what_is_a_minute_old() -> None:
    now = 1_000.0
    rate = PerMinute("rate", "", lambda: now)

    def value() -> float:
        (family,) = rate.collect()
        return family.samples[0].value

    assert value() == 0
    rate.count()
    rate.count()
    now += 30
    rate.count()
    assert value() == 3
    now += 30
    assert value() == 1
    rate.count()
    assert value() == 2
    rate.restart()
    assert value() == 0
