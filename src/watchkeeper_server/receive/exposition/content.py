"""Which format a response has, and how to ask for the formats in order of preference."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from watchkeeper_server.receive.exposition.exposed import ExpositionError

_CONTENT_TYPES = {
    "PrometheusProto": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    "PrometheusText0.0.4": "text/plain;version=0.0.4",
    "PrometheusText1.0.0": "text/plain;version=1.0.0",
    "OpenMetricsText0.0.1": "application/openmetrics-text;version=0.0.1",
    "OpenMetricsText1.0.0": "application/openmetrics-text;version=1.0.0",
}
PROTOCOLS = tuple(_CONTENT_TYPES)
# How names that are not plain are to be escaped can be said to these.
_ESCAPING_PROTOCOLS = ("PrometheusText1.0.0", "OpenMetricsText1.0.0")


class Format(Enum):
    """The formats that can be read, by media type."""

    PROTOBUF = "application/vnd.google.protobuf"
    OPENMETRICS = "application/openmetrics-text"
    TEXT = "text/plain"


def accept_header(protocols: Sequence[str], escaping: str) -> str:
    """An Accept header that prefers the protocols in this order, with the weights that Prometheus gives."""
    weight = len(_CONTENT_TYPES) + 1
    accepted = []
    for protocol in protocols:
        escape = f";escaping={escaping}" if protocol in _ESCAPING_PROTOCOLS else ""
        accepted.append(f"{_CONTENT_TYPES[protocol]}{escape};q=0.{weight}")
        weight -= 1
    return ",".join([*accepted, f"*/*;q=0.{weight}"])


def format_of(content_type: str, fallback_protocol: str = "") -> Format:
    """The format of a response; one that does not say it, or says another, has that of the fallback protocol.

    Raises:
        ExpositionError: it is none that can be read, and there is no fallback.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        return Format(media_type)
    except ValueError as error:
        if fallback_protocol:
            return Format(_CONTENT_TYPES[fallback_protocol].partition(";")[0])
        raise ExpositionError(
            f"received unsupported Content-Type {content_type!r} and no fallback_scrape_protocol specified for target"
            if content_type
            else "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified"
        ) from error
