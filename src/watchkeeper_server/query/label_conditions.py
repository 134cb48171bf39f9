"""What matchers ask of labels: a few conditions that the store looks at, and the rest, which is looked at here.

To the store each condition is a copy of every series' labels. Here the values that must, or must not, be are sets, in
which a series' labels are looked up, however many they are. Regular expressions are tried one by one, so these have a
bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.regexes import compiled
from watchkeeper_server.promql.tree import Matcher, MatchOp
from watchkeeper_server.promql.values import Labels

MOST_REGEXES = 1_000
# of each kind
_IN_STORE = 8


class LabelConditions:
    """The matchers of one selector, without those of the metric's name.

    `parameters` are those of `read_selected_series`, `regexes` what has to be tried here. `none` says that nothing can
    match.
    """

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        """Sort them by what they ask.

        Raises:
            QueryError: there are too many regular expressions, or one is none.
        """
        by_op: dict[MatchOp, list[Matcher]] = {op: [] for op in MatchOp}
        for matcher in dict.fromkeys(matchers):
            by_op[matcher.op].append(matcher)
        equal, unequal = by_op[MatchOp.EQUAL], by_op[MatchOp.NOT_EQUAL]
        regex, unregex = by_op[MatchOp.REGEX], by_op[MatchOp.NOT_REGEX]
        _check([*regex, *unregex])
        self.none = len({matcher.name for matcher in equal}) < len(equal)  # a label has one value
        self.regexes = regex[_IN_STORE:] + unregex[_IN_STORE:]
        self.parameters = {
            **_given("equal", "values", equal, lambda value: value),
            **_given("unequal", "values", unequal, lambda value: value),
            **_given("regex", "patterns", regex, _anchored),
            **_given("unregex", "patterns", unregex, _anchored),
        }
        self._more = max(len(equal), len(unequal)) > _IN_STORE
        self._wanted = {matcher.name: matcher.value for matcher in equal if matcher.value}
        self._unwanted = frozenset((matcher.name, matcher.value) for matcher in unequal if matcher.value)
        self._absent = frozenset(matcher.name for matcher in equal if not matcher.value)
        self._present = frozenset(matcher.name for matcher in unequal if not matcher.value)

    def places(self, labels: Sequence[Labels]) -> list[int]:
        """Which of the series that the store has found have all the values they must have, and none they must not."""
        if not self._more:
            return list(range(len(labels)))
        return [
            i
            for i, one in enumerate(labels)
            if self._wanted.items() <= one.items()
            and self._unwanted.isdisjoint(one.items())
            and self._absent.isdisjoint(one)
            and one.keys() >= self._present
        ]


def _check(regexes: Sequence[Matcher]) -> None:
    if len(regexes) > MOST_REGEXES:
        raise ExecutionError(
            f"a selector has {len(regexes):,} regular expressions, the most allowed is {MOST_REGEXES:,}; "
            "join some to one with |"
        )
    for matcher in regexes:
        compiled(matcher.value)


def _given(kind: str, what: str, matchers: Sequence[Matcher], written: Callable[[str], str]) -> dict[str, Any]:
    some = matchers[:_IN_STORE]
    return {
        f"{kind}_names": [matcher.name for matcher in some] or None,
        f"{kind}_{what}": [written(matcher.value) for matcher in some] or None,
    }


def _anchored(pattern: str) -> str:
    return rf"\A(?s:{pattern})\z"
