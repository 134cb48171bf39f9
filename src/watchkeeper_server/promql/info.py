"""`info(v, {…})`: the labels of info series, such as target_info, put on the series that share job and instance."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from watchkeeper_server.promql import labels as label_sets
from watchkeeper_server.promql import selectors
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.matchers import matches
from watchkeeper_server.promql.matrices import rows_of
from watchkeeper_server.promql.tree import Matcher, MatchOp
from watchkeeper_server.promql.values import METRIC_NAME, Bools, Ints, Labels, Matrix, Samples

_IDENTIFYING = ("instance", "job")
_TARGET_INFO = Matcher(METRIC_NAME, MatchOp.EQUAL, "target_info")
_ANY_INFO = Matcher(METRIC_NAME, MatchOp.REGEX, ".+_info")

# By metric name and identifying labels: at each step which row of the info series tells, -1 if none.
_Told = Mapping[tuple[str, Hashable], Ints]


def info(
    base: Matrix,
    matchers: Sequence[Matcher],
    times: Ints,
    lookback: int,
    select: Callable[[Sequence[Matcher]], Samples],
) -> Matrix:
    """The base series with more labels; `matchers` say of which info series and, but for its name, which labels.

    A series is split where its info changes. It is left out where no info is found and the matchers ask for some; it
    stays as it is if it is itself one of the info series.

    Raises:
        ExecutionError: info series contradict each other.
    """
    names = _names(matchers)
    wanted = [matcher for matcher in matchers if matcher.name != METRIC_NAME]
    is_info = [all(matches(matcher, labels.get(METRIC_NAME, "")) for matcher in names) for labels in base.labels]
    identities = {
        name: {
            labels[name] for labels, ignored in zip(base.labels, is_info, strict=True) if name in labels and not ignored
        }
        for name in _IDENTIFYING
    }
    asked = [
        Matcher(name, MatchOp.REGEX, "|".join(map(re.escape, sorted(values))))
        for name, values in identities.items()
        if values
    ]
    samples = select([*names, *asked, *wanted]) if asked else selectors.NO_SAMPLES
    told = _told(samples, times, lookback)
    only = {matcher.name for matcher in wanted}
    optional = all(matches(matcher, "") for matcher in wanted)
    rows, labels, present = [], [], []
    for row, (own, ignored) in enumerate(zip(base.labels, is_info, strict=True)):
        whole = [(own, base.present[row])]
        for part, where in whole if ignored else _parts(*whole[0], told, samples, only, optional=optional):
            rows.append(row)
            labels.append(part)
            present.append(where)
    chosen = rows_of(base, np.array(rows, np.int64))
    return replace(chosen, labels=labels, present=np.array(present, np.bool_).reshape(len(rows), len(times)))


def _names(matchers: Sequence[Matcher]) -> list[Matcher]:
    """What names of info series are wanted; who says only which are not has all that end as such names do in mind."""
    names = [matcher for matcher in matchers if matcher.name == METRIC_NAME]
    if not names:
        return [_TARGET_INFO]
    if any(matcher.op in {MatchOp.EQUAL, MatchOp.REGEX} for matcher in names):
        return names
    return [_ANY_INFO, *names]


def _told(samples: Samples, times: Ints, lookback: int) -> _Told:
    """Of the info series that say the same about the same at a step, the one with the newest sample."""
    if not len(samples.times):
        return {}
    if samples.histogram_of is not None and (samples.histogram_of >= 0).any():
        row = int(np.searchsorted(samples.offsets, np.argmax(samples.histogram_of >= 0), "right")) - 1
        raise ExecutionError(
            f"this should be an info metric, with float samples: {label_sets.to_text(samples.labels[row])}"
        )
    place, present = selectors.last_samples(samples, times, lookback)
    sampled = np.where(present, samples.times[place], np.iinfo(np.int64).min)
    groups: dict[tuple[str, Hashable], list[int]] = {}
    for row, labels in enumerate(samples.labels):
        groups.setdefault((labels.get(METRIC_NAME, ""), _identity(labels)), []).append(row)
    told = {}
    for group, rows in groups.items():
        newest = sampled[rows].argmax(axis=0)
        tied = present[rows] & (sampled[rows] == sampled[rows].max(axis=0))
        if (tied.sum(axis=0) > 1).any():
            step = int(np.argmax(tied.sum(axis=0) > 1))
            one, other = (rows[index] for index in np.flatnonzero(tied[:, step])[:2])
            texts = [f"{label_sets.to_text(samples.labels[row])} @ {sampled[row, step]}" for row in (one, other)]
            raise ExecutionError(f"found duplicate series for info metric: existing {texts[0]}, new {texts[1]}")
        told[group] = np.where(present[rows].any(axis=0), np.array(rows)[newest], -1)
    return told


def _identity(labels: Labels) -> Hashable:
    return tuple([labels.get(name) for name in _IDENTIFYING])


def _parts(
    own: Labels, present: Bools, told: _Told, samples: Samples, wanted: set[str], *, optional: bool
) -> Iterator[tuple[Labels, Bools]]:
    """One series for each combination of info series that ever tells of it: its labels, and where it is."""
    identity = _identity(own)
    chosen = [rows for (_, whose), rows in told.items() if whose == identity]
    if not chosen:
        if optional:
            yield own, present
        return
    combinations, which = np.unique(np.array(chosen), axis=1, return_inverse=True)
    for index, combination in enumerate(combinations.T.tolist()):
        where = present & (which == index)
        rows = [row for row in combination if row >= 0]
        if where.any() and (rows or optional):
            yield _enriched(own, [samples.labels[row] for row in rows], wanted), where


def _enriched(own: Labels, infos: Sequence[Labels], wanted: set[str]) -> Labels:
    added: dict[str, str] = {}
    for labels in infos:
        for name, value in labels.items():
            if name == METRIC_NAME or (wanted and name not in wanted):
                continue
            if added.get(name, value) != value:
                raise ExecutionError(f"conflicting label: {name}")
            if name not in own:
                added[name] = value
    return {**own, **added}
