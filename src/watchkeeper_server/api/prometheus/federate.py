"""`/federate`: the newest sample of each selected series, as text that another Prometheus can scrape.

Source: https://prometheus.io/docs/prometheus/latest/federation/ and
https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np
from prometheus_client.openmetrics.exposition import ALLOWUTF8, UNDERSCORES, escape_label_name, escape_metric_name

from watchkeeper_server.api.prometheus.answering import PlainAnswer
from watchkeeper_server.api.prometheus.parameters import Parameters
from watchkeeper_server.api.prometheus.queries import PrometheusQueries
from watchkeeper_server.promql.numbers import general
from watchkeeper_server.promql.parser import parse_selector
from watchkeeper_server.promql.values import METRIC_NAME, STALE_BITS, Samples

_VERSIONS = {ALLOWUTF8: "1.0.0", UNDERSCORES: "0.0.4"}
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


class FederateRoutes:
    """Hands samples to another Prometheus."""

    def __init__(self, queries: PrometheusQueries, now_ms: Callable[[], int]) -> None:
        self._queries = queries
        self._now_ms = now_ms

    def federate(self, parameters: Parameters) -> PlainAnswer:
        """The series that any of the selectors select, none without one.

        The format has no native histograms, so these are left out, as are series without a name.
        """
        escaping = ALLOWUTF8 if f"escaping={ALLOWUTF8}" in parameters.accept else UNDERSCORES
        selectors = [parse_selector(text) for text in parameters.texts("match[]")]
        text = ""
        if selectors:
            text = exposition(self._queries.federate(selectors, self._now_ms(), None), escaping)
        media_type = f"text/plain; version={_VERSIONS[escaping]}; charset=utf-8; escaping={escaping}"
        return PlainAnswer(text.encode(), media_type)


def exposition(samples: Samples, escaping: str) -> str:
    """The newest sample of each series, by metric and labels.

    `escaping` is what becomes of names with uncommon characters.
    """
    newest = samples.offsets[1:] - 1
    told = np.array([METRIC_NAME in labels for labels in samples.labels], np.bool_)
    told &= samples.offsets[1:] > samples.offsets[:-1]
    told[told] = samples.values[newest[told]].view(np.int64) != STALE_BITS
    if samples.histogram_of is not None:
        told[told] = samples.histogram_of[newest[told]] < 0
    rows = newest[told]
    names = [samples.labels[series][METRIC_NAME] for series in np.flatnonzero(told).tolist()]
    labels = [sorted(samples.labels[series].items()) for series in np.flatnonzero(told).tolist()]
    lines = sorted(zip(names, labels, samples.values[rows].tolist(), samples.times[rows].tolist(), strict=True))
    parts = []
    for name, series in groupby(lines, key=itemgetter(0)):
        written = escape_metric_name(name, escaping)
        parts.append(f"# TYPE {written} untyped\n")
        parts += [f"{_series(written, pairs, escaping)} {general(value)} {time}\n" for _, pairs, value, time in series]
    return "".join(parts)


def _series(name: str, labels: Sequence[tuple[str, str]], escaping: str) -> str:
    pairs = [
        f'{escape_label_name(label, escaping)}="{value.translate(_ESCAPES)}"'
        for label, value in labels
        if label != METRIC_NAME
    ]
    if all(label != "instance" for label, _ in labels):
        pairs.append('instance=""')  # so that whoever scrapes this adds none of its own
    if name.startswith('"'):  # a quoted name stands among the labels
        return f"{{{','.join([name, *pairs])}}}"
    return f"{name}{{{','.join(pairs)}}}"
