"""Fingerprints: what makes two errors the same one, in any process and after any harmless change of the code.

An error is told by the classes of its chain and by the application's own functions it went through (module and
qualified name). Line numbers, messages, addresses and ids are not in it, nor how deep a recursion went, nor how many
members of a group failed alike. Where no frame is the application's, all frames count; where there are none, the
message, with whatever varies in it taken out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from watchkeeper.errors.event import Frame, Problem

_LONGEST_TEMPLATE = 500  # characters of a message
_INLINED = re.compile(r"\.<locals>\.<(?:list|dict|set)comp>$")  # no frame of its own since Python 3.12
_VARYING = re.compile(
    r"(?P<uuid>\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b)"
    r"|(?P<email>\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+)"
    r"|(?P<address>\b0[xX][0-9a-fA-F]+\b)"
    r"|(?P<quoted>'[^']{0,200}'|\"[^\"]{0,200}\")"
    r"|(?P<number>\b(?=[a-fA-F]*[0-9])[0-9a-fA-F]{6,}\b|[0-9]+(?:[.,:][0-9]+)*)"  # a hexadecimal one, too
)


def fingerprint_of(problems: Sequence[Problem]) -> str:
    """Of an exception: 32 hexadecimal digits."""
    return hashed("exception", *_parts(problems, 0))


def fingerprint_of_message(message: str, logger: str = "") -> str:
    """Of a message without an exception."""
    return hashed("message", logger, template_of(message))


def hashed(*parts: str) -> str:
    """The fingerprint of a few texts."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def template_of(message: str) -> str:
    """A message without what varies from one error to the next: numbers, ids, addresses, quoted values."""
    return _VARYING.sub(lambda match: f"<{match.lastgroup}>", message[: 2 * _LONGEST_TEMPLATE])[:_LONGEST_TEMPLATE]


def _parts(problems: Sequence[Problem], at: int) -> list[str]:
    problem = problems[at]
    places = _places(problem.frames)
    parts = [problem.qualified_type, *(places or [template_of(problem.message)])]
    members: set[tuple[str, ...]] = set()
    for below, other in enumerate(problems):
        if other.parent != at:
            continue
        if other.source.startswith("exceptions["):
            members.add(tuple(_parts(problems, below)))  # sorted below: members end in any order
        elif other.source == "__cause__":
            parts += ["because of", *_parts(problems, below)]
        else:
            parts += ["while handling", other.qualified_type]
    for member in sorted(members):
        parts += ["with", *member]
    return parts


def _places(frames: Sequence[Frame]) -> list[str]:
    chosen = [frame for frame in frames if frame.in_app] or frames
    places: list[str] = []
    for frame in chosen:
        place = f"{frame.module or template_of(frame.path)}:{_INLINED.sub('', frame.function)}"
        if place not in places:  # a recursion, however deep and through however many functions
            places.append(place)
    return places
