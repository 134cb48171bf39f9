"""A series' labels: whether they can be stored, and how a message shows them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from watchkeeper_server.model.series import METRIC_NAME

Labels = Sequence[tuple[str, str]]
# A name or a value, in UTF-8. The store keeps a series' labels as often as the series is announced.
_LABEL_BYTES = 64 * 1024
# a character's at most
_UTF8_BYTES = 4
# How much of a series at fault is shown
_SHOWN_CHARACTERS = 300


def labels_fault(labels: Labels, most: int) -> str | None:
    """What is wrong with a series' labels, of which there may be so many."""
    if len(labels) > most:
        return f"{len(labels):,} labels, the most allowed is {most:,}"
    names = [name for name, _ in labels]
    if "" in names:
        return "a label has no name"
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        return f"label {shortened(twice)!r} is there twice"
    if not any(value for name, value in labels if name == METRIC_NAME):
        return f"it has no metric name; every series needs the label {METRIC_NAME}"
    return length_fault(labels)


def length_fault(labels: Labels) -> str | None:
    """Which name or value is too long."""
    if characters(labels) * _UTF8_BYTES <= _LABEL_BYTES:  # nearly always
        return None
    for label in labels:
        for what, text in zip(("name", "value"), label, strict=True):
            if (size := len(text.encode())) > _LABEL_BYTES:
                where = "" if what == "name" else f" of {shortened(label[0])!r}"
                return f"the {what}{where} is {size:,} bytes long, the most allowed is {_LABEL_BYTES:,}"
    return None


def characters(labels: Iterable[tuple[str, str]]) -> int:
    """How many all names and values have."""
    return sum(map(len, chain.from_iterable(labels)))


def series_text(labels: Labels) -> str:
    """A series as PromQL writes it, whatever is wrong with it: `up{job="shop"}`."""
    name = next((value for name, value in labels if name == METRIC_NAME), "")
    rest = ", ".join(
        f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in labels if label != METRIC_NAME
    )
    return f"{name}{{{rest}}}"


def shortened(text: str) -> str:
    """As much of a text as a message shows."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
