"""Spans as Zipkin v2 JSON (https://zipkin.io/zipkin-api/#/default/post_spans), by OpenTelemetry's mapping.

The mapping is https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/. Zipkin has no resource: the service
is each span's local endpoint, and the rest of the resource is tags.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from opentelemetry.semconv.attributes.network_attributes import NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME
from opentelemetry.trace import SpanKind, StatusCode

from watchkeeper.export.options import SignalOptions
from watchkeeper.tracing.span import Event, Span
from watchkeeper.values import truncated

_KINDS = {
    SpanKind.SERVER: "SERVER",
    SpanKind.CLIENT: "CLIENT",
    SpanKind.PRODUCER: "PRODUCER",
    SpanKind.CONSUMER: "CONSUMER",
}  # INTERNAL has no word
_PEER_NAMES = ("peer.service", SERVER_ADDRESS, NETWORK_PEER_ADDRESS, "db.namespace")  # the first there is, by the spec


class ZipkinEncoder:
    """Encodes batches for one resource."""

    def __init__(self, resource: Mapping[str, Any]) -> None:
        self._local = {"serviceName": str(resource.get(SERVICE_NAME, ""))}
        self._tags = {key: text_of_tag(value) for key, value in resource.items() if key != SERVICE_NAME}

    def encode(self, spans: Sequence[Span]) -> bytes:
        """A JSON array of spans."""
        return orjson.dumps([self._span(span) for span in spans])

    def _span(self, span: Span) -> dict[str, Any]:
        attributes = span.attributes
        encoded: dict[str, Any] = {
            "traceId": f"{span.trace_id:032x}",
            "id": f"{span.span_id:016x}",
            "name": clean(truncated(span.name)),
            "timestamp": span.start_time // 1_000,
            "duration": max(1, (span.end_time - span.start_time) // 1_000),  # Zipkin takes 0 for unknown
            "localEndpoint": self._local,
            "tags": {**self._tags, **_tags(span, attributes)},
        }
        if span.parent_id:
            encoded["parentId"] = f"{span.parent_id:016x}"
        if span.kind in _KINDS:
            encoded["kind"] = _KINDS[span.kind]
        if span.kind in {SpanKind.CLIENT, SpanKind.PRODUCER}:
            remote = _remote_endpoint(attributes)
            if remote:
                encoded["remoteEndpoint"] = remote
        if span.events:
            encoded["annotations"] = [_annotation(event) for event in span.events]
        return encoded


def as_json(target: SignalOptions) -> SignalOptions:
    """The target, saying that its bodies are JSON."""
    return replace(target, headers={"content-type": "application/json", **target.headers})


def text_of_tag(value: Any) -> str:
    """A tag is text: numbers and booleans as JSON writes them, lists and maps as JSON."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bytes):
        return value.hex()
    return orjson.dumps(_plain(value), option=orjson.OPT_NON_STR_KEYS).decode()


def clean(text: str) -> str:
    """Text that JSON can hold: a lone surrogate becomes `?`."""
    return text.encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    """A snapshot as JSON has it."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {clean(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _tags(span: Span, attributes: Mapping[str, Any]) -> dict[str, str]:
    tags = {clean(key): text_of_tag(value) for key, value in attributes.items()}
    tags["otel.scope.name"] = clean(span.scope.name)
    if span.scope.version:
        tags["otel.scope.version"] = clean(span.scope.version)
    if span.status_code is StatusCode.OK:
        tags["otel.status_code"] = "OK"
    elif span.status_code is StatusCode.ERROR:
        tags["otel.status_code"] = "ERROR"
        tags["error"] = clean(span.status_message)  # its presence is what makes the span red
    for name in ("dropped_attributes", "dropped_events", "dropped_links"):
        count = getattr(span, name)
        if count:
            tags[f"otel.{name}_count"] = str(count)
    return tags


def _annotation(event: Event) -> dict[str, Any]:
    name = clean(event.name)
    value = f"{orjson.dumps(name).decode()}: {text_of_tag(event.attributes)}" if event.attributes else name
    return {"timestamp": event.timestamp // 1_000, "value": value}


def _remote_endpoint(attributes: Mapping[str, Any]) -> dict[str, Any]:
    endpoint: dict[str, Any] = {}
    for key in _PEER_NAMES:
        if attributes.get(key):
            endpoint["serviceName"] = clean(str(attributes[key]))
            break
    address = attributes.get(NETWORK_PEER_ADDRESS) or attributes.get(SERVER_ADDRESS)
    try:
        parsed = ipaddress.ip_address(str(address))
    except ValueError:
        pass
    else:
        endpoint[f"ipv{parsed.version}"] = str(parsed)
    port = attributes.get(NETWORK_PEER_PORT) or attributes.get(SERVER_PORT)
    if endpoint and isinstance(port, int) and 0 < port < 65_536:  # noqa: PLR2004  # ports
        endpoint["port"] = port
    return endpoint
