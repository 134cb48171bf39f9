"""The context is contextvars': what carries those carries a request, and nothing else is needed."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor

import watchkeeper as wk
from watchkeeper.testing import Captured

log = wk.get_logger("app")


async def test_to_thread_carries_the_context(seen: Captured) -> None:
    with wk.span("outer"):
        await asyncio.to_thread(log.info, "said in a thread")
    assert seen.records[0].trace_id == seen.spans[0].trace_id


def test_a_copied_context_makes_a_pools_thread_part_of_it_and_ends_with_its_call(seen: Captured) -> None:
    @wk.traced(name="inner")
    def work() -> None:
        log.info("said in a pool")

    with ThreadPoolExecutor(1) as pool, wk.span("outer"):
        pool.submit(contextvars.copy_context().run, work).result()
        pool.submit(log.info, "said without").result()
    inner, outer = seen.spans
    assert (inner.parent_id, inner.trace_id) == (outer.span_id, outer.trace_id)
    assert [record.trace_id for record in seen.records] == [outer.trace_id, 0]
