"""What can be asked of log records and spans: values that are understood already, not their text."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_TERMS = 50
_TERM = re.compile(r'"([^"]*)"|(\S+)')
# The store's words: runs of letters and digits; every character beyond ASCII counts as a letter.
_WORD = re.compile(r"[0-9a-z\x80-\U0010ffff]+")


@dataclass(frozen=True, slots=True)
class Words:
    """What a text must contain: whole `words` (found through the index), and `phrases` as they are written.

    Both are in lower case. A phrase's own words are among `words`, so that the index narrows the search for it too.
    """

    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which log records; an empty field does not restrict. `level` is a name of `severity.LEVELS`, ids are hex."""

    service: str = ""
    level: str = ""
    trace_id: str = ""
    span_id: str = ""
    words: Words = Words()


@dataclass(frozen=True, slots=True)
class SpanFilter:
    """Which spans; None or empty does not restrict. All conditions hold for one and the same span.

    Attributes:
        status: a name of `spans.STATUSES`.
        attributes: names and values, as text, of the span's or its resource's attributes.
    """

    service: str = ""
    operation: str = ""
    min_duration_ns: int | None = None
    max_duration_ns: int | None = None
    status: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


def parse_words(text: str) -> Words:
    """Search terms parted by spaces; a term in double quotes may contain spaces.

    A term of ASCII letters and digits is a word. Any other (`order_id=77`, `/api/v1`, `"card declined"`, `größe`) is a
    phrase: the text contains it as written, in any case.

    Raises:
        ValueError: there are too many terms.
    """
    terms = [(quoted or plain).lower().strip() for quoted, plain in _TERM.findall(text)]
    terms = [term for term in dict.fromkeys(terms) if term]
    if len(terms) > MAX_TERMS:
        raise ValueError(f"there are {len(terms)} search terms; at most {MAX_TERMS} are allowed")
    words: dict[str, None] = {}
    phrases = []
    for term in terms:
        # The index folds the case of ASCII letters only, so it is asked for nothing else.
        found = [word for word in _WORD.findall(term) if word.isascii()]
        words |= dict.fromkeys(found)
        if found != [term]:
            phrases.append(term)
    return Words(tuple(words), tuple(phrases))
