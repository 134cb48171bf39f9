"""The grammar that Prometheus' text and OpenMetrics share: series, label sets, numbers.

Quoted names in braces, `{"a.metric",b="c"}`, are Prometheus 3's way to write any name.
Sources: https://prometheus.io/docs/instrumenting/exposition_formats/, https://prometheus.io/docs/specs/om/open_metrics_spec/.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from functools import lru_cache

from watchkeeper_server.receive.exposition.exposed import ExpositionError

_SPACE = r"[ \t]*+"
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*+"
_LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*+"
_QUOTED = r'"(?:[^"\\\n]|\\.)*+"'
# A label and its value, or the metric's quoted name: first only matched, then captured.
_ITEM = rf"{_SPACE}(?:(?:{_LABEL}|{_QUOTED}){_SPACE}={_SPACE}{_QUOTED}|{_QUOTED}){_SPACE}"
_ITEMS = re.compile(rf"(?:({_LABEL}|{_QUOTED}){_SPACE}={_SPACE}({_QUOTED})|({_QUOTED}))")
_PLAIN_ITEMS = re.compile(rf'({_LABEL})="([^"]*+)"')
_BRACES = rf"\{{((?:{_ITEM}(?:,{_ITEM})*+,?)?+{_SPACE})\}}"
_SERIES = re.compile(rf"{_SPACE}({_NAME})?+(?:{_SPACE}{_BRACES})?+")
LABEL_SET = re.compile(_BRACES)
FAMILY_NAME = rf"({_NAME}|{_QUOTED})"

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}
# Of any series, whatever a job's own limit is
MOST_LABELS = 10_000
TOO_MANY_LABELS = f"a series has more than {MOST_LABELS:,} labels, the most allowed"
# Go's shortest form has an exponent from here on.
_LEAST_EXPONENT, _LEAST_NEGATIVE_EXPONENT = 6, -5
# Longer bounds are not remembered; -1.7976931348623157e+308 has 24 characters.
_LONGEST_BOUND = 64
_VALUE = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:e[+-]?[0-9]++)?|[+-]?inf(?:inity)?|nan", re.IGNORECASE)
# Every byte that a value may have: one pass over all values of a body tells whether `float` may be trusted with them.
VALUE_BYTES = b"+-.0123456789eEaAfFiInNtTyY"


def split_series(line: str) -> tuple[str | None, str | None, int]:
    """The plain name of the series that a line begins with, what its braces hold, and where it ends.

    Raises:
        ExpositionError: the line does not begin with a series.
    """
    match = _SERIES.match(line)
    if match is None or (match[1] is None and match[2] is None):
        raise ExpositionError(f"expected a metric name or a label set, got {shown(line)}")
    if match[2] is None and line[match.end() :].lstrip(" \t")[:1] == "{":
        raise ExpositionError(
            f'the label set is malformed; expected name="value" pairs in braces, got {shown(line[match.end() :])}'
        )
    return match[1], match[2], match.end()


def labels_of_series(name: str | None, inside: str | None) -> list[tuple[str, str]]:
    """The labels of a series, `__name__` first.

    Raises:
        ExpositionError: there is no name, or more than one, or very many labels.
    """
    # before each of them takes memory; a quoted name has two quotes, too
    if inside and inside.count('"') - inside.count('\\"') > 4 * MOST_LABELS:
        raise ExpositionError(TOO_MANY_LABELS)
    labels = [("__name__", name)] if name is not None else []
    if inside and labels and "\\" not in inside:  # nearly always
        items = _PLAIN_ITEMS.findall(inside)
        if len(items) == inside.count('"') // 2:
            return labels + items
    for label, value, quoted_name in _ITEMS.findall(inside or ""):
        if quoted_name:
            if labels and labels[0][0] == "__name__":
                raise ExpositionError(f"metric name already set, got another: {shown(quoted_name)}")
            labels.insert(0, ("__name__", unquoted(quoted_name)))
        else:
            labels.append((unquoted(label), unquoted(value)))
    if not labels or labels[0][0] != "__name__":
        raise ExpositionError("metric name not set")
    return labels


def labels_of_exemplar(inside: str) -> list[tuple[str, str]]:
    """The labels of an exemplar.

    Raises:
        ExpositionError: a quoted name stands alone.
    """
    items = _ITEMS.findall(inside)
    if any(name for _, _, name in items):
        raise ExpositionError("expected label names with values in the exemplar's label set")
    return [(unquoted(label), unquoted(value)) for label, value, _ in items]


def unquoted(text: str) -> str:
    """A name or value without its quotes and escapes, if it has any."""
    if text[:1] != '"':
        return text
    text = text[1:-1]
    return text if "\\" not in text else unescaped(text)


def unescaped(text: str) -> str:
    r"""Text in which `\n`, `\"` and `\\` stand for what they say; other backslashes stand for themselves."""
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[0]), text)


def parse_value(text: str) -> float:
    """A number as Go reads it, without hexadecimal and underscores.

    Raises:
        ExpositionError: it is none.
    """
    if not _VALUE.fullmatch(text):
        raise ExpositionError(f"expected a number, got {shown(text)}")
    return float(text)


def normal_bound(text: str) -> str:
    """A bucket's bound or a quantile as OpenMetrics writes it, so that `1` and `1.0` are one series."""
    return (_remembered_bound if len(text) <= _LONGEST_BOUND else _normal_bound)(text)


def _normal_bound(text: str) -> str:
    return format_bound(float(text)) if _VALUE.fullmatch(text) else text


_remembered_bound = lru_cache(maxsize=4096)(_normal_bound)  # buckets and quantiles repeat


def format_bound(value: float) -> str:
    """A float as OpenMetrics prefers it: shortest, with `.0` or an exponent."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0.0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)  # noqa: S101  it is finite
    magnitude = len(digits) + exponent - 1
    mantissa = "".join(map(str, digits))
    minus = "-" if sign else ""
    if not _LEAST_NEGATIVE_EXPONENT < magnitude < _LEAST_EXPONENT:
        point = f".{mantissa[1:]}" if len(mantissa) > 1 else ""
        return f"{minus}{mantissa[0]}{point}e{'-' if magnitude < 0 else '+'}{abs(magnitude):02d}"
    if magnitude < 0:
        return f"{minus}0.{'0' * (-magnitude - 1)}{mantissa}"
    if exponent >= 0:
        return f"{minus}{mantissa}{'0' * exponent}.0"
    return f"{minus}{mantissa[:exponent]}.{mantissa[exponent:]}"


def shown(text: str) -> str:
    """Text as a message quotes it: its beginning, with nothing that a terminal would act on."""
    return ascii(text[:60]) + ("…" if len(text) > 60 else "")  # noqa: PLR2004  a line's worth
