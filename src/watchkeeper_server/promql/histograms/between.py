"""Native histograms on the lines between two others: what lies between samples for `smoothed` selectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.histograms.algebra import RECONCILED, operand
from watchkeeper_server.promql.histograms.columns import same_bounds, take
from watchkeeper_server.promql.histograms.layouts import combine
from watchkeeper_server.promql.histograms.members import Members, joint_hints
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints


@np.errstate(all="ignore")
def between(h: Histograms, before: Ints, after: Ints, share: Floats, reset: Bools, context: Context) -> Histograms:
    """Pair by pair what lies at this share of the way from one row to the other, both with the same kind of buckets.

    Where there was a reset on the way the counter starts from 0.
    """
    each, on = np.arange(len(after)), np.flatnonzero(~reset)
    # in this order two equal rows come to exactly the same again
    members = Members.of(
        np.concatenate([after, before[on], before[on]]),
        np.concatenate([each, on, on]),
        len(after),
        np.concatenate([share, -share[on], np.ones(len(on))]),
    )
    result, reconciled = combine(h, members)
    if reconciled.any():
        context.annotations.inform(RECONCILED + "subtraction", operand(context))
        if not same_bounds(take(h, before[reconciled]), take(result, reconciled)).all():
            context.annotations.inform(RECONCILED + "addition", operand(context))
    hints, _ = joint_hints(h, members)
    return replace(result, counter_reset=hints)
