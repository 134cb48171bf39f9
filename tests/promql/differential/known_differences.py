"""Where Prometheus 2.42 is known to answer other than Prometheus 3, and so than Watchkeeper; as narrow as can be.

What the data and the queries avoid need not be here: no window begins on a sample, for in 2.42 it would be part of it,
and no label has a line's end, which a dot did not match.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Renamed:
    """What 2.42 calls otherwise."""

    reason: str
    pattern: str
    older: str


@dataclass(frozen=True, slots=True)
class Known:
    """Differences, each described by a line, that may be in the answers to queries in which the pattern is found."""

    reason: str
    query: str
    difference: str = ""


RENAMED = (Renamed("Prometheus 3 renamed the function", r"\bdouble_exponential_smoothing\(", "holt_winters("),)

KNOWN = (
    Known(
        "2.42 tried whether a counter could have been zero before it tried whether the window's start is far from the "
        "first sample; it shows where that first sample is small, as those of subqueries can be",
        r"\b(rate|increase)\(\(",
    ),
    Known(
        "of predict_linear, alone of the functions, Prometheus does not keep the window where @ puts it, but moves it "
        "with each step of a range query; the first step is right",
        r"\bpredict_linear\((?:[^,{]|\{[^}]*\}|\([\w, ]*\))*@",
    ),
    Known(
        "of timestamp, alone of the functions, Prometheus forgets the offset of a selector with @",
        r"\btimestamp\([^()]*@[^()]*offset",
    ),
    Known(
        "in 2.42 a group of one has no deviation, even if its value is not finite",
        r"\bstd(dev|var)( by \([^)]*\)| without \([^)]*\))? \(",
        r"ours (nan|0\.0), theirs (-?0\.0|1\.0|-inf)$",
    ),
    Known(
        "so its deviation passes a comparison that ours does not",
        r"\bstd(dev|var)( by \([^)]*\)| without \([^)]*\))? \(.* (>|<|>=|<=|==|!=) ",
        " is theirs only$",
    ),
    Known(
        "a deviation's last digits decide whether it has fallen, which rates take for a reset",
        r"\bi?(rate|increase|delta)\(\(?std(dev|var)",
        r"ours -?\d[^ ]*, theirs -?\d",
    ),
    Known(
        "of zeros alone Prometheus takes the first for the least and the greatest, we the negative one or the other",
        r"/ \((min|max)(_over_time)?\b",
        r"ours -?inf, theirs -?inf$",
    ),
    Known(
        "count_values makes labels of numbers, whose last digit is how a power was rounded",
        r"\bcount_values\b.*(\b(exp|sqrt|ln|log2|log10)\(| \^ )",
        r" is (ours|theirs) only$",
    ),
    Known(
        "Prometheus makes a date of what is no number, by a conversion that differs between processors",
        r"\b(minute|hour|month|year|days?_\w+)\(",
        "ours nan, theirs",
    ),
    Known(
        "Prometheus 3 refuses ambiguous matches also where a comparison drops them",
        r" (>|<|>=|<=|==|!=) ",
        "^we fail: multiple matches for labels:",
    ),
    Known(
        "the remainder of a large number magnifies how the divisor was rounded",
        r" % ",
        r"ours -?\d[^ ]*, theirs -?\d",
    ),
    Known(
        "so do the sine, cosine and tangent of a large power",
        r"\b(sin|cos|tan)\(.* \^ ",
        r"ours -?\d[^ ]*, theirs -?\d",
    ),
    Known("2.42 keeps the name of two vectors' atan2", r" atan2 "),
)

# Deviations and slopes of values close together: most digits cancel out, and the rest depends on the order of sums.
_CANCELLING = re.compile(r"\b(std(dev|var)(_over_time)?|deriv|predict_linear)\b")


def tolerance(query: str) -> float:
    """How much two values may differ, as a share of either."""
    return 1e-5 if _CANCELLING.search(query) else 1e-9


def for_older(query: str) -> str:
    """The query as 2.42 knows it."""
    for one in RENAMED:
        query = re.sub(one.pattern, one.older, query)
    return query


def is_known(query: str, difference: str) -> bool:
    """Whether a difference between the answers to this query is one of those."""
    return any(re.search(one.query, query) and re.search(one.difference, difference) for one in KNOWN)
