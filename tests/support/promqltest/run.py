"""Doing a case: load what it needs, ask, compare; and ask in the other ways that must give the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from support.promqltest.check import problems, shown
from support.promqltest.pinned import pinned
from support.promqltest.script import Case, Expected
from support.promqltest.series import Series
from support.promqltest.targets import Answer, NotSupportedError, QueryFailedError, Target
from watchkeeper_server.promql.values import Steps

_MINUTE = 60_000
# What these say depends on the range that is asked for.
_OF_THE_RANGE = ("start()", "end()", "range()", "step()")


@dataclass(slots=True)
class Runner:
    """Tries cases on a target, which is loaded only when the data of a case are others than those before."""

    target: Target
    _held: Sequence[Series] | None = None

    def failures(self, case: Case) -> str:
        """In which ways the case fails, readable; empty if it does not.

        Raises:
            NotSupportedError: the target cannot be tried with it.
        """
        if case.data is not self._held:
            self.target.hold(case.data)
            self._held = case.data
        found = list(self._problems(case))
        return "\n".join([f"{case.place}: {case.query}", *(f"  {problem}" for problem in found)]) if found else ""

    def _problems(self, case: Case) -> Iterator[str]:
        steps = case.steps
        try:
            answer = (
                self.target.instant(case.query, steps.start) if case.instant else self.target.range(case.query, steps)
            )
        except QueryFailedError as error:
            if case.expected.fails is None:
                yield f"expected an answer, failed: {error}"
            elif not case.expected.fails.fits(str(error)):
                yield f"expected to fail like: {case.expected.fails.text}\n  failed: {error}"
            return
        if case.expected.fails is not None:
            yield f"expected to fail, got {shown(answer)}"
            return
        yield from problems(case, answer)
        if not case.instant or answer.kind not in {"vector", "scalar"}:
            return
        if not any(word in case.query for word in _OF_THE_RANGE):
            yield from (f"as a step of a range query: {problem}" for problem in self._as_a_step(case, answer))
        if again := pinned(case.query, steps.start):
            yield from (f"as {again}: {problem}" for problem in self._pinned(case, again))

    def _as_a_step(self, case: Case, instantly: Answer) -> Iterator[str]:
        """A range query around an instant must have the same in its middle; the order is another matter."""
        time = case.steps.start
        try:
            ranged = self.target.range(case.query, Steps(time - _MINUTE, time + _MINUTE, _MINUTE))
        except QueryFailedError as error:
            yield f"failed: {error}"
            return
        there = [(labels, {time: samples[time]}) for labels, samples in ranged.series if time in samples]
        expected = replace(_without_remarks(case.expected), ordered=False)
        yield from problems(replace(case, expected=expected), Answer(instantly.kind, there))

    def _pinned(self, case: Case, query: str) -> Iterator[str]:
        """A query of a fixed time must have the same answer at another time."""
        time = case.steps.start * 10 + 1000
        try:
            answer = self.target.instant(query, time)
        except NotSupportedError:
            return
        except QueryFailedError as error:
            yield f"failed: {error}"
            return
        moved = [(labels, dict.fromkeys([case.steps.start], *samples.values())) for labels, samples in answer.series]
        yield from problems(replace(case, expected=_without_remarks(case.expected)), replace(answer, series=moved))


def _without_remarks(expected: Expected) -> Expected:
    """Other steps and other places in the query make other remarks."""
    return replace(expected, warnings=[], infos=[], no_warnings=False, no_infos=False)
