"""Redis' commands as spans and metrics tell them: a name, a text without arguments, what a look-up found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

MOST_NAMES = 500  # of commands: Redis and its modules have some four hundred
OTHER = "__other__"
_MOST_ARGUMENTS = 20  # of a command's text
_MOST_COMMANDS = 20  # of a pipeline's
# Of what follows in the same text, only the second part of such a name is one: `GET session` may be sent as one, too.
_NAME = re.compile(
    r"(?:ACL|CLIENT|CLUSTER|COMMAND|CONFIG|DEBUG|FUNCTION|LATENCY|MEMORY|MODULE|OBJECT|PUBSUB|SCRIPT|SENTINEL|SLOWLOG"
    r"|XGROUP|XINFO|FT\.CONFIG|FT\.CURSOR|JSON\.DEBUG) [A-Z][A-Z_-]{0,31}(?= |$)|[A-Z][A-Z0-9_.-]{0,31}(?= |$)"
)
_LONGEST_KNOWN = 64  # characters of what is remembered

_ONE = frozenset({"GET", "GETEX", "GETDEL", "HGET", "JSON.GET"})  # None: it is not there
_MANY = frozenset({"MGET", "HMGET", "JSON.MGET"})  # likewise, for each
_WHETHER = frozenset({"HEXISTS", "SISMEMBER"})
_WHOLE = frozenset({"HGETALL"})  # empty: it is not there
_WAITING = frozenset(
    {"BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"}
)
_WAITING_IF_TOLD = frozenset({"XREAD", "XREADGROUP"})


class Outcome(NamedTuple):
    """How often an operation had a result: `hit` or `miss` of a look-up, a key at a time; else `ok` or `error`."""

    operation: str
    result: str
    times: int


class Names:
    """The names of commands, of a bounded number: an application may send whatever it likes."""

    def __init__(self) -> None:
        self._known: dict[Any, str] = {}
        self._found: set[str] = set()

    def of(self, command: Any) -> str:
        """The name in upper case."""
        found = self._known.get(command) if isinstance(command, str | bytes) else OTHER
        if found is None:
            text = command[: 2 * _LONGEST_KNOWN]
            name = _NAME.match((text.decode("latin-1") if isinstance(text, bytes) else text).upper())
            found = name[0] if name else OTHER
            if found not in self._found:
                if len(self._found) >= MOST_NAMES:
                    return OTHER
                self._found.add(found)
            if len(self._known) < MOST_NAMES and len(command) <= _LONGEST_KNOWN:
                self._known[command] = found
        return found


names = Names()


def command_text(operation: str, arguments: int) -> str:
    """`SET ? ?`: whatever a command is given may be somebody's secret, the keys too."""
    shown = min(arguments, _MOST_ARGUMENTS)
    return operation + " ?" * shown + (" …" if arguments > shown else "")


def pipeline_text(commands: Sequence[Sequence[Any]]) -> str:
    """The texts of a pipeline's first commands, one a line."""
    lines = [command_text(names.of(args[0]), len(args) - 1) for args in commands[:_MOST_COMMANDS]]
    return "\n".join([*lines, "…"] if len(commands) > _MOST_COMMANDS else lines)


def pipeline_name(commands: Sequence[Sequence[Any]], *, transaction: bool) -> str:
    """`PIPELINE`, or `PIPELINE SET` where all commands are the same; `MULTI` of a transaction."""
    kind = "MULTI" if transaction else "PIPELINE"
    kinds = {names.of(args[0]) for args in commands}
    return f"{kind} {kinds.pop()}" if len(kinds) == 1 else kind


def waits(operation: str, args: Sequence[Any]) -> bool:
    """Whether a command waits until there is something: its duration says nothing of the server."""
    if operation in _WAITING:
        return True
    return operation in _WAITING_IF_TOLD and any(arg in {"BLOCK", b"BLOCK", "block"} for arg in args[1:8] if _text(arg))


def outcomes(operation: str, args: Sequence[Any], result: Any) -> tuple[Outcome, ...]:
    """What a command that was answered is counted as."""
    if operation in _ONE:
        return (Outcome(operation, "miss" if result is None else "hit", 1),)
    hits = _hits(operation, args, result)
    if hits is None:
        return (Outcome(operation, "ok", 1),)
    found, asked = hits
    both = Outcome(operation, "hit", found), Outcome(operation, "miss", asked - found)
    return tuple(outcome for outcome in both if outcome.times > 0)


def pipeline_outcomes(commands: Sequence[Sequence[Any]], results: Any) -> Iterable[Outcome]:
    """What the commands of a pipeline are counted as, each kind once."""
    counts: Counter[tuple[str, str]] = Counter()
    for args, result in zip(commands, results, strict=False):
        operation = names.of(args[0])
        if isinstance(result, Exception):
            counts[operation, "error"] += 1
        else:
            for _, kind, times in outcomes(operation, args, result):
                counts[operation, kind] += times
    return [Outcome(operation, kind, times) for (operation, kind), times in counts.items()]


def _hits(operation: str, args: Sequence[Any], result: Any) -> tuple[int, int] | None:
    """How many were there of how many; None of what is no look-up."""
    if operation in _MANY and isinstance(result, list):
        return len(result) - result.count(None), len(result)
    if operation in _WHETHER:
        return int(bool(result)), 1
    if operation == "EXISTS" and isinstance(result, int):
        return int(result), len(args) - 1
    if operation in _WHOLE and isinstance(result, dict | list):
        return int(bool(result)), 1
    return None


def _text(value: Any) -> bool:
    return isinstance(value, str | bytes)
